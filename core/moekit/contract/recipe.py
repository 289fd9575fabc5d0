"""The recipe of a gating fine-tune: every number that decides what is trained, and how."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

Precision = Literal["auto", "fp32", "bf16"]
LARGEST_SIDE = 2**14
"""Rows or columns of an input or a window at most: a greater number is a slip or damaged."""


class Recipe(BaseModel):
    """How `moekit adapt` trains a kit. Stored in every run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image_size: int = Field(
        default=224,
        gt=0,
        le=LARGEST_SIDE,
        description="Side of the square input, in pixels; of a rectangle found from the data, the "
        "longer side.",
    )
    image_height: int | None = Field(
        default=None,
        gt=0,
        le=LARGEST_SIDE,
        description="Rows of the input; image_size if it is not given.",
    )
    image_width: int | None = Field(
        default=None,
        gt=0,
        le=LARGEST_SIDE,
        description="Columns of the input; image_size if it is not given.",
    )
    fit: Literal["squash", "letterbox"] = Field(
        default="squash",
        description="squash stretches a picture over the whole input; letterbox keeps its aspect "
        "ratio and fills the border with the mean colour.",
    )
    tile: int | None = Field(
        default=None,
        gt=0,
        le=LARGEST_SIDE,
        description="Longer side, in pixels of the picture, of the windows that larger pictures "
        "are cut into, to be learned and answered at the input's size and then put together. They "
        "have the input's shape. None takes each picture at once.",
    )
    tile_overlap: float = Field(
        default=0.25,
        ge=0,
        lt=1,
        description="Least share of a window that its neighbour covers too.",
    )
    tile_flat: int = Field(
        default=0,
        ge=0,
        le=255,
        description="Windows whose channels vary by at most that many of 255 levels are computed "
        "once for each colour in a picture, when it is answered. 0 does so for windows of one "
        "colour only, whose answers are the same anyway.",
    )
    bits: int | None = Field(
        default=None,
        ge=8,
        le=16,
        description="Bits of the numbers in files of more than 8 bits that do not say it "
        "themselves, such as 12 of 16: 2^bits - 1 is full brightness, and a larger number is "
        "refused. None takes them for 16.",
    )
    precision: Precision = Field(
        default="auto",
        description="fp32, bf16 (autocast), or auto: bf16 if the device computes it natively.",
    )
    views: int = Field(
        default=4,
        ge=1,
        le=8,
        description="Views kept of each training image: flipped, turned or cropped as `view_order` "
        "says.",
    )
    scoring_views: int = Field(
        default=1,
        ge=1,
        le=8,
        description="Such views of an image whose log-odds are averaged when it is scored.",
    )
    view_order: Literal["dihedral", "mirror", "crop"] = Field(
        default="dihedral",
        description="Which views are kept: dihedral takes half turns and mirrors first, for "
        "pictures without an upright; mirror takes the left-right mirror only, two views at most; "
        "crop takes it and then crops, which are for training: pictures are scored as of mirror.",
    )
    epochs: int = Field(
        default=4, ge=1, description="Passes in which the specialists and their head are trained."
    )
    baseline_epochs: int = Field(
        default=10, ge=1, description="Passes in which the baseline's head is trained."
    )
    least_steps: int = Field(
        default=0,
        ge=0,
        description="Least number of steps of a training. If a small set gives fewer, epochs and "
        "patience are multiplied by the smallest whole number that gives enough; 0 never changes "
        "them.",
    )
    batch_size: int = Field(default=32, ge=1, description="Images a step, over all processes.")
    learning_rate: float = Field(default=1e-3, gt=0, description="Peak rate of a head.")
    specialist_rate: float = Field(
        default=3e-4, gt=0, description="Peak rate of the specialists and their router rows."
    )
    weight_decay: float = Field(default=0.05, ge=0, description="Decoupled weight decay of AdamW.")
    warmup: float = Field(
        default=0.1, ge=0, lt=1, description="Share of the steps with a linearly rising rate."
    )
    average: float = Field(
        default=0.99,
        ge=0,
        lt=1,
        description="Decay of the moving average of the weights, which is what is kept.",
    )
    soft_targets: bool = Field(
        default=True, description="Train on the annotators' probabilities if the data have them."
    )
    patience: int = Field(
        default=4, ge=1, description="Epochs without a better validation loss before the end."
    )
    balance_rate: float = Field(
        default=0.0, ge=0, description="Step of the routers' balancing bias; 0 leaves it alone."
    )
    head_members: int = Field(
        default=1,
        ge=1,
        le=16,
        description="Small networks of a head that begin differently, learn each from its own loss "
        "and answer by their mean; only for heads that can have several, such as `PooledHead`.",
    )
    label_smoothing: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of a label that is spread over all classes, if samples have one.",
    )
    class_balance: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Exponent of the inverse class frequency by which samples weigh in the loss.",
    )

    near_duplicate_pairs: int = Field(
        default=1500,
        ge=0,
        le=1500,
        description="Pairs of pictures, the most alike first, that are laid on each other in the "
        "search for near-duplicates across splits. Fewer take less time and may miss some; 0 looks "
        "for none.",
    )
    token_share: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Share of the patches that the blocks before the kit's own compute one by one, "
        "chosen by `token_gate`; 1 computes all of them so.",
    )
    token_gate: str = Field(
        default="moekit/texture",
        pattern=r"^([A-Za-z0-9][\w.-]*/)?[a-z][a-z0-9_-]{0,39}$",
        description="Name of the token gate that says which patches are computed one by one. "
        "moekit's own are texture (edges and grain), foreground (by the first component of the "
        "features), motion (what moved since the last frame) and learned (trained in each run).",
    )
    token_window: int | None = Field(
        default=2,
        ge=2,
        description="Side, in patches, of the windows by which the other patches are computed, as "
        "one token each. None leaves them as they are.",
    )
    token_block: int = Field(
        default=2, ge=0, description="The first block that does not compute all patches."
    )

    def changed(self, fields: Mapping[str, Any]) -> Self:
        """The recipe with other values in some fields; epochs that are named are not multiplied.

        Args:
            fields: Names and values.

        Raises:
            pydantic.ValidationError: There is no such field, or a value is out of bounds.
        """
        named = {"epochs", "baseline_epochs"} & fields.keys()
        least = {"least_steps": 0} if named else {}
        return type(self).model_validate({**self.model_dump(), **least, **fields})

    def for_set(self, epochs: int, samples: int) -> tuple[Self, int]:
        """The recipe and the epochs of a training, longer if the set is too small for its steps.

        Args:
            epochs: Passes over the training split as the recipe has them.
            samples: Items of that split.
        """
        steps = -(-max(samples, 1) // self.batch_size) * epochs
        times = max(1, -(-self.least_steps // steps))
        return self.model_copy(update={"patience": self.patience * times}), epochs * times

    @property
    def scoring_order(self) -> Literal["dihedral", "mirror"]:
        """The order of the views that are scored: those whose maps can be turned back."""
        return "mirror" if self.view_order == "crop" else self.view_order

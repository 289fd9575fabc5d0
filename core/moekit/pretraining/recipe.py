"""The recipe of a pretraining: every number that decides what is learned, and how."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

Objective = Literal["self-distillation", "masked-features"]


class PretrainRecipe(BaseModel):
    """How `moekit pretrain` learns from images without labels. Stored in its record."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    objective: Objective = Field(
        default="masked-features",
        description="masked-features foretells the frozen model's features of what is hidden; "
        "self-distillation follows an averaged copy of itself over views of an image (DINO, iBOT).",
    )
    limit: int | None = Field(
        default=None, ge=2, description="Most images that are learned from, evenly spread."
    )
    image_size: int = Field(
        default=224, gt=0, description="Longer side of the input of large crops, in pixels."
    )
    small_share: float = Field(
        default=0.5, gt=0, le=1, description="Side of the input of small crops, as a share of it."
    )
    epochs: int = Field(default=20, ge=1, description="Passes over the images.")
    batch_size: int = Field(default=64, ge=2, description="Images a step, over all processes.")
    rate: float = Field(default=5e-4, gt=0, description="Peak rate of the specialists.")
    head_rate: float = Field(default=1e-3, gt=0, description="Peak rate of what reads them.")
    weight_decay: float = Field(default=0.04, ge=0, description="Decoupled weight decay of AdamW.")
    warmup: float = Field(
        default=0.1, ge=0, lt=1, description="Share of the steps with a linearly rising rate."
    )
    crops: int = Field(default=3, ge=2, description="Large crops kept of each image.")
    small_crops: int = Field(default=2, ge=0, description="Small crops of an image in a step.")
    views: int = Field(
        default=2, ge=1, le=8, description="Flips and turns kept of each crop, in the kit's order."
    )
    large_area: tuple[float, float] = Field(
        default=(0.4, 1.0), description="Share of the image's area that a large crop takes."
    )
    small_area: tuple[float, float] = Field(
        default=(0.1, 0.4), description="Share of the image's area that a small crop takes."
    )
    hidden_share: float = Field(
        default=0.3, ge=0, lt=1, description="Share of the patches that are hidden in large crops."
    )
    patch_weight: float = Field(
        default=1.0, ge=0, description="Weight of the loss of hidden patches."
    )
    spread: float = Field(
        default=0.1, ge=0, description="Weight of the term that keeps images apart (KoLeo)."
    )
    prototypes: int = Field(default=1024, ge=2, description="Outputs of the heads.")
    momentum: float = Field(
        default=0.99, ge=0, lt=1, description="Decay of the averaged copy; it rises to 1."
    )
    student_temperature: float = Field(default=0.1, gt=0, description="Of the copy that learns.")
    teacher_temperature: float = Field(default=0.05, gt=0, description="Of the averaged copy.")
    centre_decay: float = Field(
        default=0.9, ge=0, lt=1, description="Decay of the mean output that is taken off."
    )
    probes: int = Field(
        default=5, ge=1, description="How often features are judged, evenly over the training."
    )
    probe_images: int = Field(
        default=1000, ge=16, description="Most images of a split that they are judged on."
    )
    least_rank: float = Field(
        default=0.3,
        ge=0,
        lt=1,
        description="The training stops if the effective rank of the features falls below this "
        "share of the highest one found.",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto",
        description="fp32, bf16 (autocast), or auto: bf16 where the device computes it natively.",
    )

    def changed(self, fields: dict[str, Any]) -> Self:
        """The recipe with other values in some fields.

        Raises:
            pydantic.ValidationError: There is no such field, or a value is out of bounds.
        """
        return type(self).model_validate({**self.model_dump(), **fields})

"""What heads return: named tensors.

Shapes: B items of a batch, h and w rows and columns of the patch grid.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

Outputs = Mapping[str, "Tensor"]
"""Named tensors with shape suffixes (`logit_BC`), all with the same first dimension, B."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Field:
    """One tensor of a task's outputs.

    Attributes:
        name: Its name with a shape suffix that begins with B, such as `logit_BC`: a letter for each
            axis, of which C has an entry for each class, or a digit for one of that size.
        summary: What it holds, its range and its unit.
        dtype: What it is converted to once the head has returned it.
        optional: Whether a head may leave it out.
        bounds: Least and greatest value; None for no bounds.
        tolerance: Greatest absolute difference between a graph and the kit.
        mean_tolerance: Greatest mean absolute difference of one item; None for the same as above.
        turns: Whether its last two dimensions are rows and columns of the input, which the engine
            turns back before the outputs of several views are merged. Of a field that turns in
            another way, such as boxes, the function that turns it back: called with the tensor and
            the number of the view, 0 to 7.
    """

    name: str
    summary: str
    dtype: Literal["float64", "float32", "int64"] = "float32"
    optional: bool = False
    bounds: tuple[float, float] | None = None
    tolerance: float = 1e-4
    mean_tolerance: float | None = None
    turns: bool | Callable[[Tensor, int], Tensor] = False

    @property
    def short(self) -> str:
        """The name without its shape suffix; graphs call their outputs so."""
        return self.name.rpartition("_")[0]

    @property
    def axes(self) -> str:
        """The shape suffix: a letter or a digit for each axis."""
        return self.name.rpartition("_")[2]


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeadSite:
    """Where a head sits: what `KitSpec.build_head` is called with.

    A head is called with tokens and the grid. What more it needs it says by attributes:

    - `reads_picture = True`: it gets `picture=`, the normalised input (B, 3, H, W), or
      (B, T, 3, H, W) of stacks, for what is finer than a patch.
    - `reads_targets = True`: in training it also gets `targets=`, what `Learn.targets` returned for
      the batch, to pose itself easier questions, as denoising does. It is called without them
      wherever it is judged.

    In training mode a head may return more than the task declares, for losses inside it.

    Attributes:
        width: D, the width of a token.
        blocks: L, how many blocks the head reads.
        classes: C, the classes of the data that the run is adapted on.
        frames: T, the frames of a sample; 1 for images.
        members: M, the networks by whose mean the head answers, as `Recipe.head_members` says. A
            head that can have several keeps their number as its attribute `members`.
    """

    width: int
    blocks: int
    classes: int = 2
    frames: int = 1
    members: int = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeadOutput:
    """What a head of the task `score` may return in place of named tensors; since API 1.0.

    Attributes:
        logit_B: (B,) log-odds of the positive class.
        map_BHW: (B, h, w) in [0, 1], how strongly each patch speaks for the positive class, or
            None. Of stacks the patches of the middle frame.
        kind_B: (B,) int64 number of the kind of image that it is, by the order of the head's
            `kinds` (its names, a tuple of strings), -1 if it is of none that was trained on;
            None if the head does not tell kinds apart.
    """

    logit_B: Tensor
    map_BHW: Tensor | None
    kind_B: Tensor | None = None

    def as_outputs(self) -> Outputs:
        """The same as named tensors."""
        named = {"logit_B": self.logit_B, "map_BHW": self.map_BHW, "kind_B": self.kind_B}
        return {name: value for name, value in named.items() if value is not None}

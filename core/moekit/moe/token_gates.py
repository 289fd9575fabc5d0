"""Token gates: what says how much each token of an image needs to be computed.

A gate scores each image by itself, so that the result for one image never depends on its
neighbours in the batch.

Shapes: B images (or frames), P patches, D width, H and W height and width of the input in pixels.
"""

from __future__ import annotations

import dataclasses
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional

from moekit.moe.specialists import Grid

_ITERATIONS = 12


@runtime_checkable
class TokenGate(Protocol):
    """Scores the tokens of a pass."""

    def __call__(self, patch_BPD: Tensor, grid: Grid, *, picture: Tensor) -> Tensor:
        """Scores each image by itself.

        Args:
            patch_BPD: (B, P, D) the patch tokens that reach the first block that may be skipped.
            grid: Rows and columns of the patches, and the frames of a stack.
            picture: (B, 3, H, W) the normalised images or frames.

        Returns:
            (B, P) finite scores: the higher, the sooner a token is computed.
        """
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class NamedTokenGate:
    """A registered gate; equal ones score alike, so that kits that name them share a pass.

    Attributes:
        gate: Scores.
        name: Its full name.
        version: Of the distribution that it is from.
        is_learned: Whether a run trains it.
        sha256: Hash of the weights that it has learned; None if it has none.
        least_score: Tokens with a lower score need no computing; None if shares decide.
    """

    gate: TokenGate = dataclasses.field(compare=False, repr=False)
    name: str
    version: str
    is_learned: bool = False
    sha256: str | None = None
    least_score: float | None = None

    def __call__(self, patch_BPD: Tensor, grid: Grid, *, picture: Tensor) -> Tensor:
        """See `TokenGate`."""
        return self.gate(patch_BPD, grid, picture=picture)


class TextureTokenGate:
    """Edges and grain: the mean squared slope of brightness in and around a patch.

    It reads the picture only, so it can choose before the first block. The slopes are the plain
    differences of neighbouring pixels, in units of the normalised input.
    """

    def __call__(self, patch_BPD: Tensor, grid: Grid, *, picture: Tensor) -> Tensor:
        """See `TokenGate`."""
        del patch_BPD
        energy_B1RC = by_patch(brightness_slopes(picture), grid)
        around_B1RC = functional.avg_pool2d(energy_B1RC, 3, 1, 1, count_include_pad=False)
        return (energy_B1RC + around_B1RC).flatten(1).log1p()


class ForegroundTokenGate:
    """Foreground by the first principal component of an image's own tokens.

    The component splits an image into what fills most of its border and what does not; tokens on
    the other side from the border come first. Used on self-supervised features by Oquab et al.
    2023 (DINOv2, arXiv:2304.07193, section 7.5). The component is found by power iteration from a
    fixed start.
    """

    def __call__(self, patch_BPD: Tensor, grid: Grid, *, picture: Tensor) -> Tensor:
        """See `TokenGate`."""
        del picture
        centred_BPD = patch_BPD.float()
        centred_BPD = centred_BPD - centred_BPD.mean(1, keepdim=True)
        # The token furthest from the mean is never orthogonal to the first component by chance.
        far_B = centred_BPD.square().sum(2).argmax(1)
        rows_B = torch.arange(far_B.shape[0], device=far_B.device)
        along_BD = functional.normalize(centred_BPD[rows_B, far_B], dim=1)
        for _ in range(_ITERATIONS):
            along_BP1 = centred_BPD @ along_BD[:, :, None]
            along_BD = functional.normalize((along_BP1 * centred_BPD).sum(1), dim=1)
        score_BP = (centred_BPD @ along_BD[:, :, None])[..., 0]
        border_P = _border(grid).to(score_BP.device)
        sign_B1 = -score_BP[:, border_P].mean(1, keepdim=True).sign()
        return score_BP * torch.where(sign_B1 == 0, 1.0, sign_B1)


class MotionTokenGate:
    """What moved: the mean absolute difference to the frame before, by patch.

    For stacks. The tokens of a first frame score higher than all others by one; an image is a first
    frame.
    """

    def __call__(self, patch_BPD: Tensor, grid: Grid, *, picture: Tensor) -> Tensor:
        """See `TokenGate`."""
        del patch_BPD
        frames_BT3HW = torch.unflatten(picture.float(), 0, (-1, grid.frames))
        moved_BTHW = frames_BT3HW.diff(dim=1).abs().mean(2)
        shape = (frames_BT3HW.shape[0], grid.frames, grid.patches)
        score_BTP = torch.ones(shape, device=picture.device)
        if grid.frames > 1:
            patches_BTRC = by_patch(moved_BTHW, grid)
            score_BTP[:, 1:] = patches_BTRC.flatten(2)
            score_BTP[:, 0] += patches_BTRC.amax((1, 2, 3))[:, None]
        return score_BTP.flatten(0, 1)


def brightness_slopes(picture: Tensor) -> Tensor:
    """(B, 1, H, W) squared slopes of the brightness of normalised images, (B, 3, H, W)."""
    grey_B1HW = picture.float().mean(1, keepdim=True)
    slope_B1HW = functional.pad(grey_B1HW.diff(dim=3), (0, 1)).square()
    return slope_B1HW + functional.pad(grey_B1HW.diff(dim=2), (0, 0, 0, 1)).square()


def by_patch(map_BCHW: Tensor, grid: Grid) -> Tensor:
    """(B, C, R, C) means of a map over the patches of a grid, whose sides divide the map's."""
    sides = map_BCHW.shape[2] // grid.rows, map_BCHW.shape[3] // grid.columns
    return functional.avg_pool2d(map_BCHW, sides)


def _border(grid: Grid) -> Tensor:
    """(P,) bool: patches at the border of the grid."""
    plane = torch.ones(tuple(grid), dtype=torch.bool)
    plane[1:-1, 1:-1] = False
    return plane.flatten()

"""The surface expert: how coarse, how directed and how strong the texture around a patch is.

Shapes: B images, N tokens (prefix tokens first, then the patch grid row by row), P patches, D
width, R width of the bottleneck, H and W rows and columns of the grid.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from moekit import Grid

_FINE, _COARSE = 1, 2
_EPSILON = 1e-4


class SurfaceExpert(nn.Module):
    """A bottleneck that reads the local structure tensor of its features at two scales.

    Of each feature the differences to the patches on both sides are taken, one and two patches
    away. Their squares and products, averaged over 3 x 3 patches, are the structure tensor (Bigun
    and Granlund 1987, ICCV). From it come three statistics that hold whatever the contrast of the
    picture: the strength relative to the picture's mean (divisive normalisation, Heeger 1992,
    Visual Neuroscience 9), the coherence (0 for grain, 1 for stripes), and the ratio of fine to
    coarse strength. The class token gets the mean over the picture. Frames of a stack are seen one
    by one. The output is zero before training.

    Args:
        width: D.
        bottleneck: R.
    """

    reads_map = True

    def __init__(self, width: int, *, bottleneck: int = 24) -> None:
        super().__init__()
        self.down = nn.Linear(width, bottleneck)
        self.mix = nn.Linear(3 * bottleneck, bottleneck)
        self.up = nn.Linear(bottleneck, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x_BND: Tensor, grid: Grid) -> Tensor:
        """(B, N, D) to (B, N, D)."""
        prefix = x_BND.shape[1] - grid.patches
        patch_BPR = self.down(x_BND[:, prefix:])
        with torch.autocast(x_BND.device.type, enabled=False):
            # Planes of float32 keep their features next to each other, which pools faster.
            seen_BPF = statistics(grid.plane(patch_BPR.float())).flatten(2).transpose(1, 2)
        whole_BNF = seen_BPF.mean(1, keepdim=True).expand(-1, prefix, -1)
        hidden_BNR = self.mix(torch.cat([whole_BNF, seen_BPF], dim=1).to(x_BND.dtype))
        output_BND: Tensor = self.up(nn.functional.gelu(hidden_BNR))
        return output_BND


class _Tensor(NamedTuple):
    """The structure tensor of each feature around each patch, (B, R, H, W) each."""

    down: Tensor
    across: Tensor
    both: Tensor

    @property
    def strength(self) -> Tensor:
        """The mean square of the differences."""
        return self.down + self.across

    @property
    def coherence(self) -> Tensor:
        """In [0, 1]: 1 if all differences point the same way."""
        square = (self.down - self.across).square() + 4 * self.both.square()
        return (square + _EPSILON**2).sqrt() / (self.strength + _EPSILON)


def statistics(plane_BRHW: Tensor) -> Tensor:
    """(B, 3 R, H, W) float32: relative strength, coherence, and fine to coarse, in that order.

    Args:
        plane_BRHW: (B, R, H, W) float32 features.
    """
    fine, coarse = (_structure(plane_BRHW, step) for step in (_FINE, _COARSE))
    level_BR11 = fine.strength.mean((2, 3), keepdim=True)
    strength = torch.log1p(fine.strength / (level_BR11 + _EPSILON))
    grain = torch.log((fine.strength + _EPSILON) / (coarse.strength + _EPSILON))
    return torch.cat([strength, fine.coherence, grain], dim=1)


def _structure(plane_BRHW: Tensor, step: int) -> _Tensor:
    wide = nn.functional.pad(plane_BRHW, (step, step, step, step), mode="replicate")
    rows, columns = plane_BRHW.shape[2:]
    down = wide[..., 2 * step :, step : step + columns] - wide[..., :rows, step : step + columns]
    across = wide[..., step : step + rows, 2 * step :] - wide[..., step : step + rows, :columns]
    return _Tensor(_around(down * down), _around(across * across), _around(down * across))


def _around(plane_BRHW: Tensor) -> Tensor:
    """The mean over the 3 x 3 patches around each; at the border, of those that are there."""
    return nn.functional.avg_pool2d(plane_BRHW, 3, stride=1, padding=1, count_include_pad=False)

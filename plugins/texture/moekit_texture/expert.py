"""The texture expert.

Shapes: B images, N tokens (prefix tokens first, then the patch grid row by row), D width, R width
of the bottleneck, H and W rows and columns of the grid.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moekit import Grid

_EPSILON = 1e-6


class TextureExpert(nn.Module):
    """A bottleneck that sees how a patch differs from its neighbours, and how they differ.

    A regular surface has little contrast between patches, a scratch or a crack has much. Of each
    feature of the bottleneck the mean and the standard deviation over 3 x 3 patches are taken; the
    expert computes from the normalised difference and the deviation. The class token has no
    neighbours and gets nothing. The output is zero before training.

    Args:
        width: D.
        bottleneck: R.
    """

    reads_map = True

    def __init__(self, width: int, *, bottleneck: int = 32) -> None:
        super().__init__()
        self.down = nn.Linear(width, bottleneck)
        self.up = nn.Linear(2 * bottleneck, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x_BND: Tensor, grid: Grid) -> Tensor:
        """(B, N, D) to (B, N, D)."""
        patches = grid.patches
        prefix = x_BND.shape[1] - patches
        plane_BRHW = grid.plane(self.down(x_BND[:, prefix:]))
        mean_BRHW = _neighbourhood(plane_BRHW)
        difference_BRHW = plane_BRHW - mean_BRHW
        deviation_BRHW = (_neighbourhood(difference_BRHW.square()) + _EPSILON).sqrt()
        seen = torch.cat([difference_BRHW / (1 + deviation_BRHW), deviation_BRHW], dim=1)
        output_BPD: Tensor = self.up(nn.functional.gelu(seen.flatten(2).transpose(1, 2)))
        return nn.functional.pad(output_BPD, (0, 0, prefix, 0))


def _neighbourhood(plane_BRHW: Tensor) -> Tensor:
    """The mean of the 3 x 3 patches around each; at the border, of those that are there."""
    return nn.functional.avg_pool2d(plane_BRHW, 3, stride=1, padding=1, count_include_pad=False)

"""The lesion expert.

Shapes: B images, N tokens (prefix tokens first, then the patch grid row by row), D width, R width
of the bottleneck.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moekit import Grid


class LesionExpert(nn.Module):
    """A bottleneck that sees a patch next to its near and its farther surroundings.

    A nodule is a compact spot, a vessel or the pleura goes on beyond it. Two depthwise 3 x 3
    convolutions over the patch grid, one dense and one with gaps of one patch (Yu and Koltun 2016,
    arXiv:1511.07122), let a token compare both rings, as convolutional bottlenecks do for vision
    transformers (Jie and Deng 2022, arXiv:2207.07039). The output is zero before training.

    Args:
        width: D.
        bottleneck: R.
    """

    reads_map = True

    def __init__(self, width: int, *, bottleneck: int = 32) -> None:
        super().__init__()
        self.down = nn.Linear(width, bottleneck)
        self.near = nn.Conv2d(bottleneck, bottleneck, 3, padding=1, groups=bottleneck)
        self.far = nn.Conv2d(bottleneck, bottleneck, 3, padding=2, dilation=2, groups=bottleneck)
        self.up = nn.Linear(bottleneck, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x_BND: Tensor, grid: Grid) -> Tensor:
        """(B, N, D) to (B, N, D)."""
        output: Tensor = self.up(self.between(self.down(x_BND), grid))
        return output

    def between(self, hidden_BNR: Tensor, grid: Grid) -> Tensor:
        """See `moekit.BottleneckExpert`."""
        prefix = hidden_BNR.shape[1] - grid.patches
        plane = grid.plane(hidden_BNR[:, prefix:])
        rings = (plane + self.near(plane) + self.far(plane)).flatten(2).transpose(1, 2)
        mixed_BNR = torch.cat([hidden_BNR[:, :prefix], rings], dim=1)
        return nn.functional.gelu(mixed_BNR)

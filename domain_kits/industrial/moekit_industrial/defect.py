"""The defect expert and the inspection head.

Shapes: B images, N tokens (prefix tokens first, then the patch grid row by row), D width, R width
of the bottleneck, L blocks that the head reads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moekit import Grid


class DefectExpert(nn.Module):
    """A bottleneck with a depthwise 3x3 convolution over the patch grid.

    A crack or a finger interruption is a local break of a regular pattern; the convolution lets a
    token compare itself with its neighbours, which the backbone's FFN cannot do. In the line of
    Convpass (Jie and Deng 2022, arXiv:2207.07039). The output is zero before training.

    Args:
        width: D.
        bottleneck: R.
    """

    reads_map = True

    def __init__(self, width: int, *, bottleneck: int = 48) -> None:
        super().__init__()
        self.down = nn.Linear(width, bottleneck)
        self.local = nn.Conv2d(bottleneck, bottleneck, 3, padding=1, groups=bottleneck)
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
        patches = hidden_BNR[:, prefix:]
        plane = grid.plane(patches)
        local = self.local(plane).flatten(2).transpose(1, 2)
        mixed_BNR = torch.cat([hidden_BNR[:, :prefix], patches + local], dim=1)
        return nn.functional.gelu(mixed_BNR)

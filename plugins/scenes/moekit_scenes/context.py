"""The context expert.

Shapes: B images, N tokens (prefix tokens first, then the patch grid row by row), D width, R width
of the bottleneck, h and w rows and columns of the grid.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moekit import Grid


class ContextExpert(nn.Module):
    """A bottleneck that sees a patch in its surroundings, near and far.

    What a patch of a scene belongs to is often said by what lies around it: a pole is a thin break
    between two parts, a pavement lies between road and building. Two depthwise convolutions see the
    ring next to a patch and one with gaps of two patches (Yu and Koltun 2016, arXiv:1511.07122).
    The means of the patch's row and column say where it lies in the whole (strip pooling, Hou et
    al. 2020, arXiv:2003.13328). The output is zero before training.

    Args:
        width: D.
        bottleneck: R.
    """

    reads_map = True

    def __init__(self, width: int, *, bottleneck: int = 48) -> None:
        super().__init__()
        self.down = nn.Linear(width, bottleneck)
        self.near = nn.Conv2d(bottleneck, bottleneck, 3, padding=1, groups=bottleneck)
        self.far = nn.Conv2d(bottleneck, bottleneck, 3, padding=3, dilation=3, groups=bottleneck)
        self.strips = nn.Conv2d(2 * bottleneck, bottleneck, 1)
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
        plane_BRhw = grid.plane(hidden_BNR[:, prefix:])
        rows = plane_BRhw.mean(3, keepdim=True).expand_as(plane_BRhw)
        columns = plane_BRhw.mean(2, keepdim=True).expand_as(plane_BRhw)
        strips = self.strips(torch.cat([rows, columns], dim=1))
        seen = plane_BRhw + self.near(plane_BRhw) + self.far(plane_BRhw) + strips
        mixed_BNR = torch.cat([hidden_BNR[:, :prefix], seen.flatten(2).transpose(1, 2)], dim=1)
        return nn.functional.gelu(mixed_BNR)

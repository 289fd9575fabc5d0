"""The shape expert: what outline a patch belongs to, and where in the object it lies.

Shapes: B images, N tokens (prefix tokens first, then the patch grid row by row), P patches, D
width, R width of the bottleneck, H and W rows and columns of the grid.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moekit import Grid

_DILATIONS = (1, 2, 4)
_EPSILON = 1e-6
_PLACES = 4


class ShapeExpert(nn.Module):
    """A bottleneck with a wide view, and with the object's centre of mass as its origin.

    Depthwise 3 x 3 convolutions with gaps of 1, 2 and 4 patches show a patch up to nine patches
    across (Yu and Koltun 2016, arXiv:1511.07122). A learned weight says how much a patch belongs to
    the object; by it the object's centre of mass and its spread are computed, and each patch learns
    where it lies relative to them, in units of the spread, so that size and position in the picture
    matter less (moments of shape, Hu 1962, IRE Transactions on Information Theory 8). The class
    token gets the object's mean. Frames of a stack are seen one by one. The output is zero before
    training.

    Args:
        width: D.
        bottleneck: R.
    """

    reads_map = True

    def __init__(self, width: int, *, bottleneck: int = 32) -> None:
        super().__init__()
        self.down = nn.Linear(width, bottleneck)
        self.rings = nn.ModuleList(
            nn.Conv2d(bottleneck, bottleneck, 3, padding=gap, dilation=gap, groups=bottleneck)
            for gap in _DILATIONS
        )
        self.belongs = nn.Linear(bottleneck, 1, bias=False)
        self.place = nn.Linear(_PLACES, bottleneck)
        self.up = nn.Linear(2 * bottleneck, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x_BND: Tensor, grid: Grid) -> Tensor:
        """(B, N, D) to (B, N, D)."""
        output: Tensor = self.up(self.between(self.down(x_BND), grid))
        return output

    def between(self, hidden_BNR: Tensor, grid: Grid) -> Tensor:
        """See `moekit.BottleneckExpert`."""
        prefix = hidden_BNR.shape[1] - grid.patches
        patch_BPR = hidden_BNR[:, prefix:]
        plane_BRHW = grid.plane(patch_BPR)
        wide_BRHW = plane_BRHW + torch.stack([ring(plane_BRHW) for ring in self.rings]).sum(0)
        weight_BP = self.belongs(patch_BPR)[..., 0].float().softmax(1)
        whole_B1R = torch.einsum("bp,bpr->br", weight_BP, patch_BPR.float())[:, None]
        place_BPR = self.place(places(weight_BP, grid).to(hidden_BNR.dtype))
        outline_BPR = wide_BRHW.flatten(2).transpose(1, 2) + place_BPR
        first_BNR = torch.cat([whole_B1R.expand(-1, prefix, -1).to(outline_BPR), outline_BPR], 1)
        seen_BNF = torch.cat([first_BNR, hidden_BNR - whole_B1R.to(hidden_BNR)], dim=2)
        return nn.functional.gelu(seen_BNF)


def places(weight_BP: Tensor, grid: Grid) -> Tensor:
    """(B, P, 4) float32: where each patch lies relative to the weighted centre of mass.

    Offset down and across in units of the spread, their length, and the logarithm of the patch's
    weight relative to an even one, from -4 to 4.

    Args:
        weight_BP: (B, P) float32 weights that sum to 1.
        grid: Rows and columns.
    """
    side = max(grid.rows, grid.columns)
    down, across = (
        (torch.arange(count, device=weight_BP.device) - (count - 1) / 2) * 2 / side
        for count in grid
    )
    at_P2 = torch.stack(torch.meshgrid(down, across, indexing="ij"), dim=-1).flatten(0, 1)
    centre_B12 = (weight_BP @ at_P2)[:, None]
    offset_BP2 = at_P2 - centre_B12
    square_BP = offset_BP2.square().sum(2)
    # A spread below a patch tells nothing of an outline.
    spread_B1 = ((weight_BP * square_BP).sum(1, keepdim=True) + 1 / side**2).sqrt()
    unit_BP2 = offset_BP2 / spread_B1[..., None]
    length_BP1 = (unit_BP2.square().sum(2, keepdim=True) + _EPSILON).sqrt()
    excess_BP1 = (weight_BP * grid.patches + _EPSILON).log().clamp(-4, 4)[..., None]
    return torch.cat([unit_BP2, length_BP1, excess_BP1], dim=2)

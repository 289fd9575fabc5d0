"""The axial expert: what the neighbouring slices of a stack say.

Shapes: B rows (the frames of all stacks, those of one stack one after the other), T frames of a
stack, N tokens of a frame, D width, R width of the bottleneck.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moekit import Grid

_TAPS = 3


class AxialExpert(nn.Module):
    """A bottleneck that sees a token next to the same place in the slices next to it.

    A nodule ends within a few slices, a vessel goes on through all of them, which one slice cannot
    show. A depthwise convolution over T in the bottleneck lets a token compare itself with its
    neighbours along the axis, as ST-Adapter does over time (Pan et al. 2022, arXiv:2206.13559); a
    kernel over rows and columns is left to the lesion expert next to it. Beyond the first and the
    last frame there is nothing. With one frame it is a plain bottleneck: no token sees another.
    The output is zero before training.

    Args:
        width: D.
        bottleneck: R.
    """

    reads_map = True

    def __init__(self, width: int, *, bottleneck: int = 32) -> None:
        super().__init__()
        self.down = nn.Linear(width, bottleneck)
        self.taps_3R = nn.Parameter(torch.empty(_TAPS, bottleneck))
        self.up = nn.Linear(bottleneck, width)
        bound = _TAPS**-0.5  # that of torch's own depthwise convolutions
        nn.init.uniform_(self.taps_3R, -bound, bound)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x_BND: Tensor, grid: Grid) -> Tensor:
        """(B, N, D) to (B, N, D)."""
        output: Tensor = self.up(self.between(self.down(x_BND), grid))
        return output

    def between(self, hidden_BNR: Tensor, grid: Grid) -> Tensor:
        """See `moekit.BottleneckExpert`."""
        shape = (-1, grid.frames, *hidden_BNR.shape[1:])
        mixed_BNR = hidden_BNR + self._along_axis(hidden_BNR.reshape(shape)).flatten(0, 1)
        return nn.functional.gelu(mixed_BNR)

    def _along_axis(self, hidden_STNR: Tensor) -> Tensor:
        """(S, T, N, R) to the same: the weighted sum of the frame before, itself and the next."""
        before_R, own_R, after_R = self.taps_3R.unbind()
        mixed_STNR = hidden_STNR * own_R
        if hidden_STNR.shape[1] == 1:
            return mixed_STNR
        nothing = torch.zeros_like(hidden_STNR[:, :1])
        before_STNR = torch.cat([nothing, hidden_STNR[:, :-1]], dim=1)
        after_STNR = torch.cat([hidden_STNR[:, 1:], nothing], dim=1)
        return mixed_STNR + before_STNR * before_R + after_STNR * after_R

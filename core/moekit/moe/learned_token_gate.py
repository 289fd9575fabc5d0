"""A token gate that is trained in each run; `moekit.training.token_gate` trains it.

Shapes: B images (or frames), P patches, D width, F figures of the picture, E hidden width, H and W
height and width of the input in pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from moekit.moe.routing import is_traced
from moekit.moe.specialists import Grid
from moekit.moe.token_gates import brightness_slopes, by_patch

_LEAST = 1e-3
"""Added to slopes before their logarithm: about the noise of an 8-bit picture."""


class LearnedTokenGate(nn.Module):
    """One hidden layer on a token, the mean of its neighbourhood, and the edges of its patch.

    Args:
        width: D, of the tokens.
        hidden: E.
    """

    def __init__(self, width: int, hidden: int = 32) -> None:
        super().__init__()
        self.token = nn.Linear(width, hidden)
        self.around = nn.Linear(width, hidden, bias=False)
        self.picture = nn.Linear(2, hidden, bias=False)
        self.score = nn.Linear(hidden, 1)

    def forward(self, patch_BPD: Tensor, grid: Grid, *, picture: Tensor) -> Tensor:
        """See `TokenGate`. But in training and in graphs, each image is multiplied by itself.

        So no image changes a bit of another's scores.
        """
        if is_traced():
            return self._of_batch(patch_BPD, grid, picture)
        with torch.autocast(patch_BPD.device.type, enabled=False):
            if self.training:
                return self._of_batch(patch_BPD, grid, picture)
            ones = [slice(row, row + 1) for row in range(len(picture))]
            return torch.cat([self._of_batch(patch_BPD[one], grid, picture[one]) for one in ones])

    def _of_batch(self, patch_BPD: Tensor, grid: Grid, picture: Tensor) -> Tensor:
        """(B, P)."""
        normal_BPD = functional.layer_norm(patch_BPD.float(), patch_BPD.shape[-1:])
        return self._scores(normal_BPD, self._seen(grid, picture), grid)

    def _scores(self, x_BPD: Tensor, seen_BPF: Tensor, grid: Grid) -> Tensor:
        """(B, P)."""
        around_BEP = self.around(x_BPD).transpose(1, 2)
        around_BERC = around_BEP.unflatten(2, (grid.rows, grid.columns))
        around_BERC = functional.avg_pool2d(around_BERC, 3, 1, 1, count_include_pad=False)
        sum_BPE = self.token(x_BPD) + self.picture(seen_BPF)
        sum_BPE = sum_BPE + around_BERC.flatten(2).transpose(1, 2)
        score_BP1: Tensor = self.score(functional.gelu(sum_BPE))
        return score_BP1[..., 0]

    @staticmethod
    def _seen(grid: Grid, picture: Tensor) -> Tensor:
        """(B, P, F) logarithms of the slopes in a patch, and in it and its neighbours."""
        energy_B1RC = by_patch(brightness_slopes(picture), grid)
        around_B1RC = functional.avg_pool2d(energy_B1RC, 3, 1, 1, count_include_pad=False)
        seen_BFRC = torch.cat([energy_B1RC, around_B1RC], dim=1)
        return (seen_BFRC + _LEAST).log().flatten(2).transpose(1, 2)

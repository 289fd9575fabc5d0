"""The inspection head: from tokens of several depths to one score and a map of evidence.

Shapes: B images, N tokens (prefix tokens first, then the patch grid row by row), P patches, D
width, L blocks that the head reads.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from moekit import Grid, HeadOutput


class InspectionHead(nn.Module):
    """Pools the tokens of several blocks and adds up their evidence.

    For each block, the class token and the patches' mean, maximum and standard deviation are
    normalised and scored linearly.

    Args:
        width: D.
        blocks: L.
    """

    def __init__(self, width: int, blocks: int, *, dropout: float = 0.5, hidden: int = 64) -> None:
        super().__init__()
        pooled = 4 * width * blocks
        self.norm = nn.BatchNorm1d(pooled, affine=False, momentum=0.05)
        self.score = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(pooled, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, 1),
        )

    def forward(self, tokens: Sequence[Tensor], grid: Grid) -> HeadOutput:
        """One (B, N, D) tensor a block to (B,) logits."""
        pooled = []
        for x_BND in tokens:
            x_BND = x_BND.float()
            prefix = x_BND.shape[1] - grid.rows * grid.columns
            patches_BPD = x_BND[:, prefix:]
            pooled += [x_BND[:, 0], patches_BPD.mean(1), patches_BPD.amax(1), patches_BPD.std(1)]
        return HeadOutput(logit_B=self.score(self.norm(torch.cat(pooled, 1)))[:, 0], map_BHW=None)

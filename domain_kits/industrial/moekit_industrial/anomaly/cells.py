"""Clustering of features: Lloyd's algorithm, seeded by features that were drawn.

Shapes: M features, K cells, C width.
"""

from __future__ import annotations

import torch
from torch import Tensor

_DRAWN_PER_CELL = 256
_ROUNDS = 12
_PIECE = 8192


def cluster(x_MC: Tensor, cells: int, *, generator: torch.Generator) -> Tensor:
    """(K, C) centres of clusters (Lloyd 1982, IEEE Trans. Inf. Theory 28:129).

    They are computed on 256 features a cell, which places centres well enough to route by. A cell
    that loses its last feature is begun anew at one that was drawn.

    Args:
        x_MC: (M, C) float32, M at least K.
        cells: K.
        generator: Draws the features; on the CPU.
    """
    order_M = torch.randperm(len(x_MC), generator=generator)[: cells * _DRAWN_PER_CELL]
    drawn_MC = x_MC[order_M.to(x_MC.device)]
    centres_KC = drawn_MC[:cells].clone()
    for _ in range(_ROUNDS if cells > 1 else 1):
        cell_M = nearest(drawn_MC, centres_KC)
        counts_K = torch.bincount(cell_M, minlength=cells)
        sums_KC = torch.zeros_like(centres_KC).index_add_(0, cell_M, drawn_MC)
        empty = counts_K == 0
        centres_KC = sums_KC / counts_K.clamp_min(1)[:, None]
        fresh = torch.randint(len(drawn_MC), (int(empty.sum()),), generator=generator)
        centres_KC[empty] = drawn_MC[fresh.to(drawn_MC.device)]
    return centres_KC


def nearest(x_MC: Tensor, centres_KC: Tensor) -> Tensor:
    """(M,) number of the nearest centre of each feature."""
    norms_K = centres_KC.square().sum(1)
    pieces = [
        torch.addmm(norms_K, piece, centres_KC.T, alpha=-2).argmin(1)
        for piece in torch.split(x_MC, _PIECE)
    ]
    return torch.cat(pieces)

"""Clustering of features, by Lloyd's algorithm seeded by features that were drawn; nearest cells.

Shapes: M features, K cells, C width, T queries, p cells that a query asks.
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
    that loses its last feature begins again at one that was drawn.

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


def nearest_of_kind(
    x_TC: Tensor, kind_T: Tensor, *, centres_KC: Tensor, kind_K: Tensor, asked: int
) -> tuple[Tensor, Tensor]:
    """(T, p) how far the nearest cells of each query's kind are, others infinitely, and which.

    What is far is the squared distance less |x|^2.

    Args:
        x_TC: (T, C) float32 queries.
        kind_T: (T,) the kind of each query.
        centres_KC: (K, C) centres of the cells.
        kind_K: (K,) the kind of each cell.
        asked: p; K if there are fewer cells.
    """
    far_TK = centres_KC.square().sum(1) - 2 * x_TC @ centres_KC.T
    far_TK = far_TK.masked_fill(kind_T[:, None] != kind_K, torch.inf)
    found = far_TK.topk(min(asked, len(kind_K)), dim=1, largest=False)
    return found.values, found.indices

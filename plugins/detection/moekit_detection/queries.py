"""Queries: anchors that the picture itself proposes, or plain learned ones.

Shapes: B images, F width, C classes, H and W rows and columns of the map, S = H W places, Q
queries.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from moekit_detection.boxes import from_corners, inside
from moekit_detection.features import Residual

_PRIOR = 0.01
_FIRST = 3.0
"""Places from the centre of a box to its sides, before training."""
_LARGEST = 5.0


class Queries(NamedTuple):
    """What a decoder begins with.

    Attributes:
        content_BQF: What each query knows.
        anchor_BQ4: Where it looks: boxes as shares.
        logit_BQC: What is thought of it so far.
    """

    content_BQF: Tensor
    anchor_BQ4: Tensor
    logit_BQC: Tensor

    def at(self, place_BQ: Tensor) -> Queries:
        """The queries at these positions."""
        return Queries(*(_taken(one, place_BQ) for one in self))


class DenseProposals(nn.Module):
    """Each place of the map proposes a box and says how much it looks like each class.

    A one-stage detector without anchors (FCOS, Tian et al. 2019, arXiv:1904.01355): distances to
    the four sides. It is learned by itself, so that few pictures suffice, and it is the first stage
    of the decoder (two-stage Deformable DETR, Zhu et al. 2021, arXiv:2010.04159).

    Args:
        width: F.
        classes: C.
    """

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.name = Residual(width)
        self.size = Residual(width)
        self.classify = nn.Conv2d(width, classes, 1)
        self.measure = nn.Conv2d(width, 4, 1)
        nn.init.normal_(self.classify.weight, std=0.01)
        nn.init.normal_(self.measure.weight, std=0.01)
        nn.init.constant_(self.classify.bias, prior_logit())  # type: ignore[arg-type]
        nn.init.constant_(self.measure.bias, math.log(_FIRST))  # type: ignore[arg-type]

    def forward(self, map_BFHW: Tensor) -> Queries:
        """(B, F, H, W) to a query a place, row by row."""
        rows, columns = map_BFHW.shape[-2:]
        name_BFHW = self.name(map_BFHW)
        logit_BSC = self.classify(name_BFHW).flatten(2).transpose(1, 2)
        side_BS4 = self.measure(self.size(map_BFHW)).flatten(2).transpose(1, 2)
        away_BS4 = side_BS4.clamp(-_LARGEST, _LARGEST).exp()
        scale = away_BS4.new_tensor([columns, rows])
        centre_S2 = places(rows, columns, away_BS4) / scale
        low, high = away_BS4[..., :2] / scale, away_BS4[..., 2:] / scale
        corner_BS4 = torch.cat([centre_S2 - low, centre_S2 + high], dim=-1)
        content_BSF = name_BFHW.flatten(2).transpose(1, 2)
        return Queries(content_BSF, inside(from_corners(corner_BS4)), logit_BSC)


class Gate(nn.Module):
    """Chooses the places that become queries: the greatest peaks.

    A place is a peak if no neighbour has a greater logit (CenterNet, Zhou et al. 2019,
    arXiv:1904.07850), so that queries are of different objects (Zhang et al. 2023,
    arXiv:2303.12776). Their number is fixed, as graphs need it.

    Args:
        queries: Q; all places if there are fewer.
    """

    def __init__(self, queries: int) -> None:
        super().__init__()
        self.queries = queries

    def forward(self, logit_BSC: Tensor, rows: int, columns: int) -> Tensor:
        """(B, S, C) logits of places to (B, Q) positions, the greatest first."""
        best_BS = logit_BSC.detach().amax(-1)
        plane = best_BS.reshape(-1, 1, rows, columns)
        around_BS = nn.functional.max_pool2d(plane, 3, stride=1, padding=1).flatten(1)
        rank_BS = best_BS.sigmoid() + (best_BS >= around_BS).to(best_BS.dtype)
        return rank_BS.topk(min(self.queries, rows * columns), dim=1).indices


class LearnedQueries(nn.Module):
    """The same queries for every picture, learned (DAB-DETR, Liu et al. 2022, arXiv:2201.12329).

    Args:
        width: F.
        classes: C.
        queries: Q.
    """

    def __init__(self, width: int, classes: int, queries: int) -> None:
        super().__init__()
        self.content_QF = nn.Parameter(torch.randn(queries, width) * 0.02)
        raster = math.ceil(math.sqrt(queries))
        centre_Q2 = places(raster, raster, self.content_QF)[:queries] / raster
        side_Q2 = torch.full_like(centre_Q2, 1 / raster)
        self.anchor_Q4 = nn.Parameter(torch.cat([centre_Q2, side_Q2], dim=1).logit(1e-3))
        self.logit_C = nn.Parameter(torch.full((classes,), prior_logit()))

    def forward(self, batch: int) -> Queries:
        """Queries for that many pictures."""
        anchor_Q4 = inside(self.anchor_Q4.sigmoid())
        logit_QC = self.logit_C.expand(len(anchor_Q4), -1)
        return Queries(
            *(one.expand(batch, -1, -1) for one in (self.content_QF, anchor_Q4, logit_QC))
        )


def prior_logit() -> float:
    """The logit of a class before training: hardly ever (Lin et al. 2017, arXiv:1708.02002)."""
    return -math.log((1 - _PRIOR) / _PRIOR)


def places(rows: int, columns: int, like: Tensor) -> Tensor:
    """(S, 2) x and y of the middles of places, row by row, in places."""
    y, x = torch.meshgrid(
        torch.arange(rows, device=like.device, dtype=like.dtype) + 0.5,
        torch.arange(columns, device=like.device, dtype=like.dtype) + 0.5,
        indexing="ij",
    )
    return torch.stack([x, y], dim=-1).flatten(0, 1)


def _taken(value_BSX: Tensor, place_BQ: Tensor) -> Tensor:
    index = place_BQ[..., None].expand(-1, -1, value_BSX.shape[2])
    return value_BSX.gather(1, index)

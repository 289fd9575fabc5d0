"""The parity gate: a graph must give what the trained kit gives, image by image.

Shapes: B images or stacks, h and w rows and columns of the patch grid.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from moekit.errors import MoekitError
from moekit.runtime.predictor import Scorer

SCORE_TOLERANCE = 1e-4
MAP_TOLERANCE = 1e-3
BATCHES = (1, 1, 5, 16)
"""Sizes of the batches that are compared, one after the other."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parity:
    """How far a graph is from the kit in float32.

    Attributes:
        n: Images compared.
        batches: How they were cut into batches.
        score: Greatest absolute difference of a score.
        map: Greatest absolute difference of a place in a map; None where there are no maps.
        score_tolerance: Greatest that is allowed.
        map_tolerance: Likewise.
    """

    n: int
    batches: tuple[int, ...]
    score: float
    map: float | None
    score_tolerance: float = SCORE_TOLERANCE
    map_tolerance: float = MAP_TOLERANCE


def check_parity(images: Tensor, *, graph: Scorer, kit: Scorer, whose: str) -> Parity:
    """Compares a graph with the kit it was made from.

    Args:
        images: (n, ...) normalised images or stacks; n of at least 1.
        graph: Scores by the graph.
        kit: Scores by the kit, in float32.
        whose: The graph, for the error.

    Raises:
        MoekitError: They differ by more than the tolerance, or one of them has no number or other
            shapes.
    """
    scores, maps, sizes = [0.0], [], []
    for batch in _cut(images):
        sizes.append(len(batch))
        found, wanted = graph(batch), kit(batch)
        scores.append(_difference(found.score_B, wanted.score_B))
        if (found.map_BHW is None) != (wanted.map_BHW is None):
            maps.append(float("inf"))
        elif found.map_BHW is not None and wanted.map_BHW is not None:
            maps.append(_difference(found.map_BHW, wanted.map_BHW))
    parity = Parity(
        n=len(images),
        batches=tuple(sizes),
        score=max(scores),
        map=max(maps) if maps else None,
    )
    if parity.score > SCORE_TOLERANCE or (parity.map or 0.0) > MAP_TOLERANCE:
        raise MoekitError(
            f"the graph differs from the kit by {parity.score:.2g} in a score (allowed "
            f"{SCORE_TOLERANCE:g}) and {parity.map or 0.0:.2g} in a map (allowed "
            f"{MAP_TOLERANCE:g}) on {parity.n} images",
            whose=whose,
            fix="nothing was written; report it with the versions in run.json, and use torch",
        )
    return parity


def _cut(images: Tensor) -> Sequence[Tensor]:
    sizes, left = [], len(images)
    for size in BATCHES:
        sizes.append(min(size, left))
        left -= sizes[-1]
    return [batch for batch in torch.split(images, [*sizes, left]) if len(batch)]


def _difference(found: Tensor, wanted: Tensor) -> float:
    """The greatest difference; infinite where shapes differ or one is not a number."""
    if found.shape != wanted.shape:
        return float("inf")
    difference = (found.double() - wanted.double()).abs().max()
    return float(torch.nan_to_num(difference, nan=float("inf")))

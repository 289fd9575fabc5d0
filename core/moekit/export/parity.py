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
MAP_TOLERANCE = 0.05
MAP_MEAN_TOLERANCE = 1e-3
BATCHES = (1, 1, 5, 16)
"""Sizes of the batches that are compared, one after the other."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parity:
    """How far a graph is from the kit in float32.

    Where the greatest of all patches is looked for, two that are equal to rounding may change
    places, and with them one feature's share of the evidence: single places of a map may then
    differ by some thousandths though all numbers before are the same to 1e-6. So a map is held to a
    small difference on average, and to a larger one in each place.

    Attributes:
        n: Images compared.
        batches: How they were cut into batches.
        score: Greatest absolute difference of a score.
        map: Greatest absolute difference of a place in a map; None where there are no maps.
        map_mean: Greatest mean absolute difference of a map; None likewise.
        score_tolerance: Greatest that is allowed.
        map_tolerance: Likewise.
        map_mean_tolerance: Likewise.
    """

    n: int
    batches: tuple[int, ...]
    score: float
    map: float | None
    map_mean: float | None
    score_tolerance: float = SCORE_TOLERANCE
    map_tolerance: float = MAP_TOLERANCE
    map_mean_tolerance: float = MAP_MEAN_TOLERANCE

    @property
    def holds(self) -> bool:
        """Whether all is within its tolerance."""
        return (
            self.score <= self.score_tolerance
            and (self.map or 0.0) <= self.map_tolerance
            and (self.map_mean or 0.0) <= self.map_mean_tolerance
        )


def check_parity(images: Tensor, *, graph: Scorer, kit: Scorer, whose: str) -> Parity:
    """Compares a graph with the kit it was made from.

    Args:
        images: (n, ...) normalised images or stacks; n of at least 1.
        graph: Scores by the graph.
        kit: Scores by the kit, in float32.
        whose: The graph, for the error.

    Raises:
        MoekitError: They differ by more than the tolerance, one of them has no number, other
            shapes or other kinds.
    """
    batches = _cut(images)
    pairs = [(graph(batch), kit(batch)) for batch in batches]
    scores = [_differences(found.score_B, wanted.score_B) for found, wanted in pairs]
    maps = [_differences(found.map_BHW, wanted.map_BHW) for found, wanted in pairs]
    if any(found.kinds != wanted.kinds for found, wanted in pairs):
        raise MoekitError(
            "the graph takes an image for another kind than the kit does",
            whose=whose,
            fix="nothing was written; use torch, and report it with the versions of the libraries",
        )
    there = [one for one in maps if one is not None]
    parity = Parity(
        n=len(images),
        batches=tuple(len(batch) for batch in batches),
        score=max(float(one.max()) for one in scores if one is not None),
        map=max((float(one.max()) for one in there), default=None),
        map_mean=max((float(one.flatten(1).mean(1).max()) for one in there), default=None),
    )
    if not parity.holds:
        raise MoekitError(
            f"the graph differs from the kit on {parity.n} images: by {parity.score:.2g} in a "
            f"score (allowed {SCORE_TOLERANCE:g}), by {parity.map or 0.0:.2g} in a place of a map "
            f"(allowed {MAP_TOLERANCE:g}), by {parity.map_mean or 0.0:.2g} in a map on average "
            f"(allowed {MAP_MEAN_TOLERANCE:g})",
            whose=whose,
            fix="nothing was written; use torch, and report it with the versions of the libraries",
        )
    return parity


def _cut(images: Tensor) -> Sequence[Tensor]:
    sizes, left = [], len(images)
    for size in BATCHES:
        sizes.append(min(size, left))
        left -= sizes[-1]
    return [batch for batch in torch.split(images, [*sizes, left]) if len(batch)]


def _differences(found: Tensor | None, wanted: Tensor | None) -> Tensor | None:
    """Absolute differences, float64; infinite where shapes differ or something is not a number."""
    if found is None and wanted is None:
        return None
    if found is None or wanted is None or found.shape != wanted.shape:
        return torch.full((1, 1), float("inf"), dtype=torch.float64)
    return (found.double() - wanted.double()).abs().nan_to_num(nan=float("inf"))

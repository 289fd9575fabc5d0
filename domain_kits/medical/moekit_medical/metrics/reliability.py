"""Reliability: does what is scored 0.3 turn out positive in 30 of 100 cases?

Scores are probabilities of the positive class, in [0, 1]. Bins are of equal width; each holds its
lower edge, the last one its upper edge too.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from moekit.evaluation import wilson_interval

BINS = 15


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """One point of a reliability curve.

    Attributes:
        lower: Lower edge, in the bin.
        upper: Upper edge, not in the bin, except of the last.
        count: How many scores lie in the bin; at least 1.
        mean_score: Their mean.
        frequency: Share of positives among them.
        ci95: Wilson's 95% interval of `frequency`.
    """

    lower: float
    upper: float
    count: int
    mean_score: float
    frequency: float
    ci95: tuple[float, float]


def reliability_curve(
    scores: np.ndarray, labels: np.ndarray, *, bins: int = BINS
) -> tuple[ReliabilityBin, ...]:
    """The bins that hold scores, in ascending order (DeGroot and Fienberg 1983, The Statistician).

    Args:
        scores: (n,) float64 in [0, 1].
        labels: (n,) int64 in {0, 1}.
        bins: How many bins; empty ones have no point.

    Returns:
        At most `bins` points; none if there are no scores.
    """
    edges = np.linspace(0, 1, bins + 1)
    bin_of = np.clip(np.searchsorted(edges, scores, side="right") - 1, 0, bins - 1)
    counts = np.bincount(bin_of, minlength=bins)
    positives = np.bincount(bin_of, weights=labels, minlength=bins)
    points = []
    for index in np.flatnonzero(counts):
        count, positive = int(counts[index]), round(positives[index])
        points.append(
            ReliabilityBin(
                lower=float(edges[index]),
                upper=float(edges[index + 1]),
                count=count,
                mean_score=math.fsum(scores[bin_of == index]) / count,
                frequency=positive / count,
                ci95=wilson_interval(positive, count),
            )
        )
    return tuple(points)

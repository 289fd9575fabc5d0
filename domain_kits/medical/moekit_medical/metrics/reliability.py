"""Reliability: does what is scored 0.3 turn out positive in 30 of 100 cases?

Scores are probabilities of the positive class, in [0, 1]. Bins are of equal width; each holds its
lower edge, the last one its upper edge too.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

BINS = 15
_Z95 = 1.959963984540054


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """One point of a reliability curve.

    Attributes:
        lower: Lower edge, in the bin.
        upper: Upper edge, not in the bin but for the last.
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
        At most `bins` points; none where there are no scores.
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


def wilson_interval(successes: int, count: int) -> tuple[float, float]:
    """The 95% score interval of a share (Wilson 1927, JASA 22(158):209-212).

    Args:
        successes: From 0 to `count`.
        count: How many trials.

    Returns:
        Low and high in [0, 1]; nan without trials.
    """
    if count == 0:
        return math.nan, math.nan
    share, square = successes / count, _Z95**2
    centre = (share + square / (2 * count)) / (1 + square / count)
    spread = share * (1 - share) / count + square / (4 * count**2)
    half = _Z95 / (1 + square / count) * math.sqrt(spread)
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == count else min(1.0, centre + half)
    return low, high

"""Intervals and tests of figures in bounds, from their values on resamples.

Shapes: C figures of one kind, such as one a class, R resamples.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from moekit.evaluation.bootstrap import percentile_interval
from moekit.evaluation.shares import Interval, unvaried

UNIT = (0.0, 1.0)
"""The bounds of a share."""


def resampled_interval(drawn_R: np.ndarray, units: int, bounds: Interval = UNIT) -> Interval | None:
    """The percentile interval of a figure; if nothing varied, that of `unvaried`.

    Args:
        drawn_R: (R,) float64 its values on resamples, nan if undefined.
        units: Independent items of the smallest stratum.
        bounds: Least and greatest value.
    """
    interval = percentile_interval(drawn_R)
    if interval is None or interval[0] < interval[1]:
        return interval
    return unvaried(interval[0], bounds, units)


def resampled_difference(
    drawn_R: np.ndarray, difference: float, units: int, bounds: Interval = UNIT
) -> Interval | None:
    """The percentile interval of the difference of two figures of the same items.

    If nothing varied, it is as wide to each side as `unvaried` makes a figure at its bound.

    Args:
        drawn_R: (R,) float64 differences on resamples, nan if undefined.
        difference: On all items.
        units: Independent items of the smallest stratum.
        bounds: Least and greatest value of a figure.
    """
    interval = percentile_interval(drawn_R)
    if interval is None or interval[0] < interval[1]:
        return interval
    low, high = bounds
    room = unvaried(high, bounds, units)
    if room is None:
        return None
    width, most = room[1] - room[0], high - low
    return max(difference - width, -most), min(difference + width, most)


def interval_entries(
    value_C: np.ndarray, drawn_RC: np.ndarray | None, key: str, units: int | np.ndarray
) -> list[dict[str, Any]]:
    """Figures in [0, 1] with their intervals, ready for JSON; undefined ones are None.

    Args:
        value_C: (C,) on all items, nan if undefined.
        drawn_RC: (R, C) on resamples; None or empty if nothing can vary.
        key: `value`, or `difference` of differences.
        units: Independent items behind each figure, or behind all of them.
    """
    entries = []
    units_C = np.broadcast_to(units, np.shape(value_C))
    for number, (value, own) in enumerate(zip(value_C.tolist(), units_C.tolist(), strict=True)):
        interval = None
        if drawn_RC is not None and len(drawn_RC) and math.isfinite(value):
            drawn_R = drawn_RC[:, number]
            if key == "difference":
                interval = resampled_difference(drawn_R, value, own)
            else:
                interval = resampled_interval(drawn_R, own)
        entries.append(
            {
                key: value if math.isfinite(value) else None,
                "ci95": None if interval is None else list(interval),
            }
        )
    return entries


def paired_bootstrap(
    metric: str, difference: float, drawn_R: np.ndarray, units: int
) -> dict[str, Any] | None:
    """The paired bootstrap test of the difference of a figure in [0, 1] between two models.

    p is twice the smaller share of resamples on either side of 0, with one added to both counts
    (Davison and Hinkley 1997, section 4.4.1); at most 1.

    Args:
        metric: Name of the figure.
        difference: On all items.
        drawn_R: (R,) differences on resamples of both models' items, nan if undefined.
        units: Independent items of the smallest stratum.

    Returns:
        `metric`, `difference`, `ci95` and `p`; None if the difference or its interval is undefined.
    """
    interval = resampled_difference(drawn_R, difference, units)
    if interval is None or not math.isfinite(difference):
        return None
    defined = drawn_R[np.isfinite(drawn_R)]
    tail = min(int((defined <= 0).sum()), int((defined >= 0).sum()))
    return {
        "metric": metric,
        "difference": difference,
        "ci95": list(interval),
        "p": min(1.0, 2 * (tail + 1) / (len(defined) + 1)),
    }

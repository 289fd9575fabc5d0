"""Figures that come from the order of numbers: quantiles, and the correlation of ranks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def quantile(ordered: Sequence[float], share: float) -> float | None:
    """The number below which a share of the numbers lies; None of nothing.

    It lies between the two that are nearest, in proportion (type 7 of Hyndman and Fan 1996, which
    is NumPy's too). NumPy is not imported, since programs that only ask a server start without it.

    Args:
        ordered: The numbers, the smallest first.
        share: From 0 to 1.
    """
    if not ordered:
        return None
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's correlation; equal numbers have their mean rank. NaN if one list is constant.

    Args:
        first: (n,) numbers.
        second: (n,) numbers of the same things.
    """
    import numpy as np
    from scipy.stats import spearmanr  # type: ignore[import-untyped]

    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return math.nan
    return float(spearmanr(first, second).statistic)

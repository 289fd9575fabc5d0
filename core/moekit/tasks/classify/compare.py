"""Kit against baseline: McNemar's exact test on right answers, and the difference of their shares.

McNemar 1947, Psychometrika 12; the exact form is the binomial test of the items that only one of
the two answers right. Efron and Tibshirani 1993 for the interval.

Shapes: N items, M units (groups, or items without one), R resamples.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

from moekit.data.samples import UNSEEN
from moekit.tasks.classify.tally import ClassTally

RESAMPLES = 2000
_SEED = 0
_LEAST_DEFINED = 0.95


def compare_models(kit: ClassTally, baseline: ClassTally) -> dict[str, Any] | None:
    """A paired test of the most probable class, for items of known classes.

    Items of a group are not independent, which the test takes for granted; then the interval, which
    draws whole groups, is what counts, and `note` says so.

    Args:
        kit: Of the kit.
        baseline: Of the baseline, for the same items in the same order.

    Returns:
        `top1_difference` with `ci95`, `mcnemar_p`, and how many items only the kit and only the
        baseline answer right. For items with several labels just a `note`; None if there are no
        items of known classes.
    """
    if kit.labels_N is None:
        return {"note": "no test of several labels: the intervals of the differences count"}
    rows = np.flatnonzero(kit.labels_N != UNSEEN)
    if not len(rows):
        return None
    labels_N = kit.labels_N[rows]
    kit_N, base_N = (tally.probability_NC[rows].argmax(1) == labels_N for tally in (kit, baseline))
    only_kit, only_baseline = int((kit_N & ~base_N).sum()), int((~kit_N & base_N).sum())
    gain_N = kit_N.astype(np.float64) - base_N
    groups = None if kit.groups is None else tuple(kit.groups[row] for row in rows)
    interval, clustered = paired_interval(gain_N, labels_N, groups)
    return {
        "top1_difference": float(gain_N.mean()),
        "ci95": None if interval is None else list(interval),
        "interval": "by group" if clustered else "within classes",
        "mcnemar_p": mcnemar(only_kit, only_baseline),
        "only_kit_right": only_kit,
        "only_baseline_right": only_baseline,
        "note": (
            "items of a group are not independent: the interval counts, not the test"
            if clustered
            else ""
        ),
    }


def mcnemar(first: int, second: int) -> float:
    """The two-sided exact p of McNemar's test; 1 if no item is answered differently.

    Args:
        first: Items that only the first model answers right.
        second: Items that only the second one answers right.
    """
    count = first + second
    tail = sum(math.comb(count, place) for place in range(min(first, second) + 1))
    return min(1.0, float(Fraction(2 * tail, 2**count)))


def paired_interval(
    gain_N: np.ndarray,
    strata_N: np.ndarray,
    groups: tuple[str, ...] | None,
    *,
    seed: int = _SEED,
    resamples: int = RESAMPLES,
) -> tuple[tuple[float, float] | None, bool]:
    """The 95% percentile interval of a mean, by whole groups if there are any.

    Args:
        gain_N: (N,) what is averaged.
        strata_N: (N,) integers; without groups as many items are drawn of each as it has.
        groups: (N) names; an item with an empty one stands by itself.
        seed: Of the draws.
        resamples: R.

    Returns:
        The interval, None if nothing can vary; and whether groups were drawn.
    """
    generator = np.random.default_rng(seed)
    unit_N = _units(len(gain_N), groups)
    units = int(unit_N.max(initial=-1)) + 1
    if units < 2:
        return None, units < len(gain_N)
    if units < len(gain_N):
        sums_M = np.bincount(unit_N, weights=gain_N)
        sizes_M = np.bincount(unit_N)
        times_RM = generator.multinomial(units, np.full(units, 1 / units), size=resamples)
        values = (times_RM @ sums_M) / (times_RM @ sizes_M)
        return _percentiles(values), True
    total_R = np.zeros(resamples)
    for stratum in np.unique(strata_N):
        gains = gain_N[strata_N == stratum]
        drawn = generator.integers(len(gains), size=(resamples, len(gains)))
        total_R += gains[drawn].sum(1)
    return _percentiles(total_R / len(gain_N)), False


def _units(count: int, groups: tuple[str, ...] | None) -> np.ndarray:
    """(N,) numbers of units from 0."""
    if groups is None:
        return np.arange(count)
    numbers: dict[str | int, int] = {}
    keys: list[str | int] = [name or row for row, name in enumerate(groups)]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def _percentiles(values: np.ndarray) -> tuple[float, float] | None:
    defined = values[np.isfinite(values)]
    if len(defined) < math.ceil(_LEAST_DEFINED * len(values)):
        return None
    low, high = np.quantile(defined, [0.025, 0.975])
    return float(low), float(high)

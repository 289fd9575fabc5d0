"""Kit against baseline: McNemar's exact test on right answers, and the difference of their shares.

McNemar 1947, Psychometrika 12; the exact form is the binomial test of the items that only one of
the two answers right. The interval is Tango's (see `moekit.evaluation.shares`).

Shapes: N items.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

from moekit.data.samples import UNSEEN
from moekit.evaluation.bootstrap import number_groups
from moekit.evaluation.shares import paired_interval
from moekit.tasks.classify.tally import ClassTally


def compare_models(kit: ClassTally, baseline: ClassTally) -> dict[str, Any] | None:
    """A paired test of the most probable class, for items of known classes.

    Items of a group are not independent, which the test takes for granted; then the interval, which
    goes by the effective number of items, is what counts, and `note` says so.

    Args:
        kit: Of the kit.
        baseline: Of the baseline, for the same items in the same order.

    Returns:
        `metric`, `top1_difference` with `ci95`, `mcnemar_p`, and how many items only the kit and
        only the baseline answer right. For items with several labels just a `note`; None if there
        are no items of known classes.
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
    interval = paired_interval(kit_N, base_N, np.ones(len(rows), dtype=bool), groups)
    clustered = groups is not None and len(np.unique(number_groups(groups))) < len(rows)
    return {
        "metric": "top1",
        "top1_difference": float(gain_N.mean()),
        "ci95": None if interval is None else list(interval),
        "interval": "by group" if clustered else "by item",
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

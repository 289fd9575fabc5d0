"""Confusions, and recall and precision of each class with their intervals.

Shapes: N items, C classes.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from moekit.data.samples import UNSEEN
from moekit.tasks.classify.refusal import refused_rows
from moekit.tasks.classify.tally import ClassTally

Interval = tuple[float, float]
_Z = 1.959963984540054
"""The normal quantile of a two-sided 95% interval."""


def wilson(right: int, count: int) -> Interval | None:
    """The 95% score interval of a share (Wilson 1927, JASA 22); None of nothing.

    Args:
        right: Successes, 0 to `count`.
        count: Trials.
    """
    if not count:
        return None
    share, spread = right / count, _Z**2 / count
    middle = (share + spread / 2) / (1 + spread)
    half = _Z / (1 + spread) * math.sqrt(share * (1 - share) / count + spread / (4 * count))
    return max(0.0, middle - half), min(1.0, middle + half)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassRow:
    """How one class is answered.

    Attributes:
        name: Of the class.
        n: Items of it.
        called: Items that are given it.
        right: Items of it that are given it.
    """

    name: str
    n: int
    called: int
    right: int

    @property
    def recall(self) -> float | None:
        """Share of its items that are given it; None if there is none."""
        return self.right / self.n if self.n else None

    @property
    def precision(self) -> float | None:
        """Share of the items that are given it and are of it; None if there is none."""
        return self.right / self.called if self.called else None

    @property
    def recall_ci95(self) -> Interval | None:
        """Wilson's interval of the recall."""
        return wilson(self.right, self.n)

    @property
    def precision_ci95(self) -> Interval | None:
        """Wilson's interval of the precision."""
        return wilson(self.right, self.called)

    def as_json(self) -> dict[str, Any]:
        """The row for result.json."""
        intervals = (self.recall_ci95, self.precision_ci95)
        recall_ci95, precision_ci95 = (None if ci is None else list(ci) for ci in intervals)
        return {
            "class": self.name,
            "n": self.n,
            "called": self.called,
            "recall": self.recall,
            "recall_ci95": recall_ci95,
            "precision": self.precision,
            "precision_ci95": precision_ci95,
        }


def class_rows(tally: ClassTally, point: Any) -> list[ClassRow]:
    """One row a class, in the order of the classes."""
    if tally.labels_NC is not None:
        said_NC, truth_NC = tally.probability_NC >= point.thresholds_C, tally.labels_NC > 0
        n_C, called_C = truth_NC.sum(0), said_NC.sum(0)
        right_C = (said_NC & truth_NC).sum(0)
    else:
        counts = confusions(tally, point)
        count = len(tally.classes)
        n_C, called_C = counts[:count].sum(1), counts[:, :count].sum(0)
        right_C = np.diagonal(counts)[:count]
    return [
        ClassRow(name=name, n=int(n), called=int(called), right=int(right))
        for name, n, called, right in zip(tally.classes, n_C, called_C, right_C, strict=True)
    ]


def confusions(tally: ClassTally, point: Any) -> np.ndarray:
    """(C + 1, C + 1) int64 counts by true class and by answer; the last is "none of these".

    Args:
        tally: Of items with one label.
        point: Says what is refused; None for nothing.
    """
    assert tally.labels_N is not None
    none = len(tally.classes)
    refused_N = refused_rows(point, tally.unlike_N, len(tally))
    said_N = np.where(refused_N, none, tally.probability_NC.argmax(1))
    true_N = np.where(tally.labels_N == UNSEEN, none, tally.labels_N)
    counts = np.bincount(true_N * (none + 1) + said_N, minlength=(none + 1) ** 2)
    return counts.reshape(none + 1, none + 1)

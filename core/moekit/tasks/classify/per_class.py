"""Confusions, and recall and precision of each class with their intervals.

Shapes: N items, C classes.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from moekit.data.samples import UNSEEN
from moekit.evaluation.shares import Share, share_of
from moekit.tasks.classify.refusal import refused_rows
from moekit.tasks.classify.tally import ClassTally

Interval = tuple[float, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassRow:
    """How one class is answered.

    Attributes:
        name: Of the class.
        n: Items of it.
        called: Items that are given it.
        right: Items of it that are given it.
        of_items: The share of its items that are given it.
        of_called: The share of the items that are given it and are of it.
    """

    name: str
    n: int
    called: int
    right: int
    of_items: Share
    of_called: Share

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
        return self.of_items.ci95

    @property
    def precision_ci95(self) -> Interval | None:
        """Wilson's interval of the precision."""
        return self.of_called.ci95

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
    rows = []
    for number, name in enumerate(tally.classes):
        there_N, said_N = _of_class(tally, point, number)
        right_N = there_N & said_N
        rows.append(
            ClassRow(
                name=name,
                n=int(there_N.sum()),
                called=int(said_N.sum()),
                right=int(right_N.sum()),
                of_items=share_of(right_N, there_N, tally.groups),
                of_called=share_of(right_N, said_N, tally.groups),
            )
        )
    return rows


def _of_class(tally: ClassTally, point: Any, number: int) -> tuple[np.ndarray, np.ndarray]:
    """(N,) which items are of a class, and (N,) which are given it."""
    if tally.labels_NC is not None:
        said_N = tally.probability_NC[:, number] >= point.thresholds_C[number]
        return tally.labels_NC[:, number] > 0, said_N
    assert tally.labels_N is not None
    answered_N = ~refused_rows(point, tally.unlike_N, len(tally))
    return tally.labels_N == number, answered_N & (tally.probability_NC.argmax(1) == number)


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

"""The common metrics of two-class problems, and what they are at their edges.

A score at or above the threshold counts as positive. A metric that a split cannot define (one class
only, no image) is nan.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from moekit.contract.metrics import MetricExample, MetricSpec
from moekit.evaluation.shares import share_of

Compute = Callable[[np.ndarray, np.ndarray, float], float]
Counted = tuple[np.ndarray, np.ndarray]
"""(n,) what each item adds to the numerator of a share, and (n,) to its denominator."""


def auroc(scores: np.ndarray, labels: np.ndarray, threshold: float = 0.0) -> float:
    """Area under the ROC curve: how often a positive scores above a negative, ties counting half.

    Computed from midranks in float64 (Hanley and McNeil 1982, Radiology 143(1)). torchmetrics 1.9
    agrees to about 1e-7, but returns float32, passes scores outside [0, 1] through a sigmoid, and
    gives 0 with a warning if there is one class only.
    """
    del threshold
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if positives == 0 or negatives == 0:
        return float("nan")
    ranks = midranks(scores)[labels == 1].sum()
    return float((ranks - positives * (positives + 1) / 2) / (positives * negatives))


def average_precision(scores: np.ndarray, labels: np.ndarray, threshold: float = 0.0) -> float:
    """Average precision: the mean of the precision at each recall step, not interpolated.

    As scikit-learn's `average_precision_score`; equal scores are one step.
    """
    del threshold
    positives = int(labels.sum())
    if positives == 0 or positives == len(labels):
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    hits = np.cumsum(labels[order])[ends]
    precision = hits / (ends + 1)
    return float(np.sum(np.diff(hits, prepend=0) * precision) / positives)


def accuracy(scores: np.ndarray, labels: np.ndarray, threshold: float) -> float:
    """Share of right decisions."""
    return share_of(*right_decisions(scores, labels, threshold)).value


def right_decisions(scores: np.ndarray, labels: np.ndarray, threshold: float) -> Counted:
    """(n,) which decisions are right, and (n,) all."""
    return (scores >= threshold) == (labels == 1), np.ones(len(labels), dtype=bool)


def f1(scores: np.ndarray, labels: np.ndarray, threshold: float) -> float:
    """Harmonic mean of precision and recall: 2 TP / (2 TP + FP + FN); nan without positives."""
    called, positive = scores >= threshold, labels == 1
    if not positive.any():
        return float("nan")
    hits = int((called & positive).sum())
    return 2 * hits / int(called.sum() + positive.sum())


def sensitivity(scores: np.ndarray, labels: np.ndarray, threshold: float) -> float:
    """Share of positives that are found: TP / (TP + FN)."""
    return share_of(*found_positives(scores, labels, threshold)).value


def found_positives(scores: np.ndarray, labels: np.ndarray, threshold: float) -> Counted:
    """(n,) which positives are found, and (n,) which are there."""
    return (labels == 1) & (scores >= threshold), labels == 1


def specificity(scores: np.ndarray, labels: np.ndarray, threshold: float) -> float:
    """Share of negatives that are passed: TN / (TN + FP)."""
    return share_of(*passed_negatives(scores, labels, threshold)).value


def passed_negatives(scores: np.ndarray, labels: np.ndarray, threshold: float) -> Counted:
    """(n,) which negatives are passed, and (n,) which are there."""
    return (labels == 0) & (scores < threshold), labels == 0


def _spec(
    name: str,
    compute: Compute,
    summary: str,
    source: str,
    answer: float,
    share: Callable[[np.ndarray, np.ndarray, float], Counted] | None = None,
    undefined: str = "",
) -> MetricSpec:
    return MetricSpec(
        name=name,
        compute=compute,
        higher_is_better=True,
        bounds=(0.0, 1.0),
        summary=summary,
        source=source,
        share=share,
        undefined=undefined,
        examples=(
            MetricExample(
                scores=(0.1, 0.4, 0.35, 0.8),
                labels=(0, 0, 1, 1),
                threshold=0.5,
                value=answer,
                source="scikit-learn 1.8 on the same four scores",
            ),
        ),
    )


_ONE = "all items are of one class"
METRICS = (
    _spec("auroc", auroc, "area under the ROC curve", "Hanley and McNeil 1982", 3 / 4, None, _ONE),
    _spec(
        "average_precision",
        average_precision,
        "average precision",
        "scikit-learn's definition",
        5 / 6,
        None,
        _ONE,
    ),
    _spec("accuracy", accuracy, "share of right decisions", "definition", 3 / 4, right_decisions),
    _spec("f1", f1, "harmonic mean of precision and recall", "van Rijsbergen 1979", 2 / 3),
    _spec(
        "sensitivity",
        sensitivity,
        "share of positives found",
        "definition",
        1 / 2,
        found_positives,
        "there is no positive item",
    ),
    _spec(
        "specificity",
        specificity,
        "share of negatives passed",
        "definition",
        1.0,
        passed_negatives,
        "there is no negative item",
    ),
)


def midranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1, equal values sharing their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: np.ndarray = (last - (counts - 1) / 2)[inverse]
    return ranks

"""The metrics of inspection: what slips through, and what is rejected for nothing.

A score at or above the threshold rejects a part.
"""

from __future__ import annotations

import numpy as np

from moekit import MetricExample, MetricSpec


def escape_rate(scores: np.ndarray, labels: np.ndarray, threshold: float) -> float:
    """Share of the defective parts that pass: FN / (TP + FN); nan without defective parts."""
    defective = scores[labels == 1]
    return float((defective < threshold).mean()) if len(defective) else float("nan")


def overkill_rate(scores: np.ndarray, labels: np.ndarray, threshold: float) -> float:
    """Share of the good parts that are rejected: FP / (TN + FP); nan without good parts."""
    good = scores[labels == 0]
    return float((good >= threshold).mean()) if len(good) else float("nan")


def _example(value: float) -> MetricExample:
    return MetricExample(
        scores=(0.1, 0.6, 0.35, 0.8),
        labels=(0, 0, 1, 1),
        threshold=0.5,
        value=value,
        source="counted by hand: one of two good parts is rejected, one of two defective passes",
    )


METRICS = (
    MetricSpec(
        name="escape_rate",
        compute=escape_rate,
        higher_is_better=False,
        bounds=(0.0, 1.0),
        summary="share of defective parts that pass",
        source="usage of automated inspection: the miss rate, 1 - sensitivity",
        examples=(_example(1 / 2),),
    ),
    MetricSpec(
        name="overkill_rate",
        compute=overkill_rate,
        higher_is_better=False,
        bounds=(0.0, 1.0),
        summary="share of good parts that are rejected",
        source="usage of automated inspection: the false alarm rate, 1 - specificity",
        examples=(_example(1 / 2),),
    ),
)

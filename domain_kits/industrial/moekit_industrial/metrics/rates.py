"""The metrics of inspection: what slips through, and what is rejected for nothing.

A score at or above the threshold rejects a part.
"""

from __future__ import annotations

import numpy as np

from moekit import MetricExample, MetricSpec
from moekit.evaluation import share_of

Counted = tuple[np.ndarray, np.ndarray]
"""(n,) what each part adds to the numerator of a rate, and (n,) to its denominator."""


def escape_rate(scores: np.ndarray, labels: np.ndarray, threshold: float) -> float:
    """Share of the defective parts that pass: FN / (TP + FN); nan without defective parts."""
    return share_of(*escapes(scores, labels, threshold)).value


def escapes(scores: np.ndarray, labels: np.ndarray, threshold: float) -> Counted:
    """(n,) which defective parts pass, and (n,) which parts are defective."""
    return (labels == 1) & (scores < threshold), labels == 1


def overkill_rate(scores: np.ndarray, labels: np.ndarray, threshold: float) -> float:
    """Share of the good parts that are rejected: FP / (TN + FP); nan without good parts."""
    return share_of(*overkills(scores, labels, threshold)).value


def overkills(scores: np.ndarray, labels: np.ndarray, threshold: float) -> Counted:
    """(n,) which good parts are rejected, and (n,) which parts are good."""
    return (labels == 0) & (scores >= threshold), labels == 0


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
        share=escapes,
        undefined="there is no defective part",
    ),
    MetricSpec(
        name="overkill_rate",
        compute=overkill_rate,
        higher_is_better=False,
        bounds=(0.0, 1.0),
        summary="share of good parts that are rejected",
        source="usage of automated inspection: the false alarm rate, 1 - specificity",
        examples=(_example(1 / 2),),
        share=overkills,
        undefined="there is no good part",
    ),
)

"""The kit's metrics of scores and labels: calibration, and two points of the ROC curve.

Scores are probabilities of the positive class, in [0, 1]; a score at or above a threshold counts as
positive.

The two points of the ROC curve describe how well the scores separate. They choose their threshold
on the very scores that they are reported for, so they say nothing of a decision rule. What the
operating threshold from validation reaches is reported by the core's `sensitivity` and
`specificity`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from moekit import MetricExample, MetricSpec
from moekit_medical.metrics.reliability import BINS, reliability_curve

_SHARE = 0.95


def expected_calibration_error(
    scores: np.ndarray, labels: np.ndarray, threshold: float = 0.0
) -> float:
    """Expected calibration error on the probability of the positive class, 15 bins.

    The sum over bins of equal width of count / n * |share of positives - mean score|.

    Naeini, Cooper and Hauskrecht 2015 (AAAI) for the binary variant that is computed here. Guo et
    al. 2017 (ICML, arXiv:1706.04599) bin the confidence in the predicted class, max(p, 1 - p), and
    compare it with the accuracy: another number. The estimate is biased upward if bins hold few
    scores. One class only leaves it defined.

    Args:
        scores: (n,) float64 in [0, 1].
        labels: (n,) int64 in {0, 1}.
        threshold: Not used.

    Returns:
        In [0, 1]; nan without scores.
    """
    del threshold
    if not len(scores):
        return math.nan
    points = reliability_curve(scores, labels, bins=BINS)
    gaps = (point.count * abs(point.frequency - point.mean_score) for point in points)
    return math.fsum(gaps) / len(scores)


def brier(scores: np.ndarray, labels: np.ndarray, threshold: float = 0.0) -> float:
    """Mean squared difference of score and label (Brier 1950, Monthly Weather Review 78(1)).

    The binary form in [0, 1], half of Brier's own sum over both classes. One class only leaves it
    defined.

    Args:
        scores: (n,) float64 in [0, 1].
        labels: (n,) int64 in {0, 1}.
        threshold: Not used.

    Returns:
        In [0, 1]; nan without scores.
    """
    del threshold
    if not len(scores):
        return math.nan
    return math.fsum((scores - labels) ** 2) / len(scores)


def sensitivity_at_95_specificity(
    scores: np.ndarray, labels: np.ndarray, threshold: float = 0.0
) -> float:
    """The greatest sensitivity of any threshold that passes at least 95% of the negatives.

    No interpolation: the value is reached by a threshold on these scores. For description only;
    the threshold from validation is reported as `sensitivity` and `specificity` by the core.

    Args:
        scores: (n,) float64.
        labels: (n,) int64 in {0, 1}.
        threshold: Not used.

    Returns:
        In [0, 1]; nan if a class is missing.
    """
    del threshold
    sensitivities, specificities = _roc(scores, labels)
    return _best(sensitivities, specificities >= _SHARE)


def specificity_at_95_sensitivity(
    scores: np.ndarray, labels: np.ndarray, threshold: float = 0.0
) -> float:
    """The greatest specificity of any threshold that finds at least 95% of the positives.

    No interpolation: the value is reached by a threshold on these scores. For description only;
    the threshold from validation is reported as `sensitivity` and `specificity` by the core.

    Args:
        scores: (n,) float64.
        labels: (n,) int64 in {0, 1}.
        threshold: Not used.

    Returns:
        In [0, 1]; nan if a class is missing.
    """
    del threshold
    sensitivities, specificities = _roc(scores, labels)
    return _best(specificities, sensitivities >= _SHARE)


def _roc(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sensitivity and specificity at each score as threshold and above all; empty without both."""
    positive, negative = np.sort(scores[labels == 1]), np.sort(scores[labels == 0])
    if not len(positive) or not len(negative):
        return np.empty(0), np.empty(0)
    thresholds = np.append(np.unique(scores), np.inf)
    found = len(positive) - np.searchsorted(positive, thresholds, side="left")
    passed = np.searchsorted(negative, thresholds, side="left")
    return found / len(positive), passed / len(negative)


def _best(values: np.ndarray, allowed: np.ndarray) -> float:
    return float(values[allowed].max()) if len(values) else math.nan


def _spec(
    name: str,
    compute: Callable[[np.ndarray, np.ndarray, float], float],
    summary: str,
    source: str,
    *,
    higher_is_better: bool,
    answer: float,
) -> MetricSpec:
    return MetricSpec(
        name=name,
        compute=compute,
        higher_is_better=higher_is_better,
        bounds=(0.0, 1.0),
        summary=summary,
        source=source,
        examples=(
            MetricExample(
                scores=(0.1, 0.4, 0.35, 0.8),
                labels=(0, 0, 1, 1),
                threshold=0.5,
                value=answer,
                source="by hand; scikit-learn 1.9 agrees on the Brier score and the ROC points",
            ),
        ),
    )


METRICS: tuple[MetricSpec, ...] = (
    _spec(
        "ece",
        expected_calibration_error,
        "expected calibration error of the positive class, 15 bins",
        "Naeini et al. 2015, binary variant",
        higher_is_better=False,
        answer=(0.1 + 0.4 + 0.65 + 0.2) / 4,
    ),
    _spec(
        "brier",
        brier,
        "mean squared difference of score and label",
        "Brier 1950, binary form",
        higher_is_better=False,
        answer=(0.1**2 + 0.4**2 + 0.65**2 + 0.2**2) / 4,
    ),
    _spec(
        "sensitivity_at_95_specificity",
        sensitivity_at_95_specificity,
        "sensitivity where the ROC curve passes 95% of negatives; for description",
        "definition",
        higher_is_better=True,
        answer=1 / 2,
    ),
    _spec(
        "specificity_at_95_sensitivity",
        specificity_at_95_sensitivity,
        "specificity where the ROC curve finds 95% of positives; for description",
        "definition",
        higher_is_better=True,
        answer=1 / 2,
    ),
)

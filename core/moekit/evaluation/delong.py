"""The variance of an AUROC and the paired test of two, by DeLong.

DeLong, DeLong and Clarke-Pearson 1988, Biometrics 44(3):837-845, computed from midranks as in Sun
and Xu 2014, IEEE Signal Processing Letters 21(11):1389-1393.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from moekit.evaluation.metrics import midranks

_Z95 = 1.959963984540054


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairedTest:
    """Two AUROCs on the same images.

    Attributes:
        difference: The first less the second.
        ci95: Its 95% confidence interval.
        p: Two-sided p-value of no difference; 1 where the scores rank the images alike.
    """

    difference: float
    ci95: tuple[float, float]
    p: float


def delong_ci(scores: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """The 95% confidence interval of an AUROC, cut to [0, 1]; nan with one class only."""
    if len(np.unique(labels)) < 2:
        return float("nan"), float("nan")
    area, covariance = _areas(scores[None], labels)
    half = _Z95 * math.sqrt(covariance[0, 0])
    return max(0.0, float(area[0]) - half), min(1.0, float(area[0]) + half)


def delong_test(first: np.ndarray, second: np.ndarray, labels: np.ndarray) -> PairedTest:
    """Tests whether two scores of the same images have the same AUROC.

    Args:
        first: (n,) scores.
        second: (n,) scores.
        labels: (n,) in {0, 1}, both present.
    """
    area, covariance = _areas(np.stack([first, second]), labels)
    difference = float(area[0] - area[1])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    if variance <= 1e-18:
        p = 1.0 if difference == 0 else 0.0
        return PairedTest(difference=difference, ci95=(difference, difference), p=p)
    error = math.sqrt(variance)
    return PairedTest(
        difference=difference,
        ci95=(difference - _Z95 * error, difference + _Z95 * error),
        p=math.erfc(abs(difference) / error / math.sqrt(2)),
    )


def _areas(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(k,) AUROCs and their (k, k) covariance, from (k, n) scores."""
    positive, negative = scores[:, labels == 1], scores[:, labels == 0]
    m, n = positive.shape[1], negative.shape[1]
    joint = np.stack([midranks(row) for row in np.concatenate([positive, negative], axis=1)])
    own_positive = np.stack([midranks(row) for row in positive])
    own_negative = np.stack([midranks(row) for row in negative])
    area = joint[:, :m].sum(axis=1) / m / n - (m + 1) / (2 * n)
    of_positive = (joint[:, :m] - own_positive) / n
    of_negative = 1 - (joint[:, m:] - own_negative) / m
    return area, _covariance(of_positive) / m + _covariance(of_negative) / n


def _covariance(values: np.ndarray) -> np.ndarray:
    if values.shape[1] < 2:
        return np.zeros((len(values), len(values)))
    return np.atleast_2d(np.cov(values))

"""The variance of an AUROC and the paired test of two, for lone images and for groups of images.

DeLong, DeLong and Clarke-Pearson 1988, Biometrics 44(3):837-845, computed from midranks as in Sun
and Xu 2014, IEEE Signal Processing Letters 21(11):1389-1393. If images share a subject, part or
scan, the components of a group are added up first, as in Obuchowski 1997, Biometrics 53(2):567-578;
with one image a group that is DeLong's variance.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from moekit.evaluation.bootstrap import number_groups
from moekit.evaluation.shares import unvaried
from moekit.tasks.score.metrics import midranks

_Z95 = 1.959963984540054
_NAN = float("nan")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairedTest:
    """Two AUROCs on the same images.

    Attributes:
        difference: The first less the second.
        ci95: Its 95% confidence interval, cut to [-1, 1]. If nothing varies, since both rank the
            images alike, it is as wide as that of a share that no pair of images has.
        p: Two-sided p-value of no difference; 1 if the scores rank the images alike.
    """

    difference: float
    ci95: tuple[float, float]
    p: float


def delong_ci(
    scores: np.ndarray, labels: np.ndarray, groups: Sequence[str] | None = None
) -> tuple[float, float]:
    """The 95% confidence interval of an AUROC, cut to [0, 1].

    A perfect separation has no variance. Its interval is that of a share: of pairs of a positive
    and a negative, as many as the rarer class has images or groups, which all are in order.

    Args:
        scores: (n,) scores.
        labels: (n,) in {0, 1}.
        groups: (n) group names; an empty name is an image that stands alone. None if all do.

    Returns:
        Low and high; nan if a class has fewer than two images or groups, or if all scores
        are equal.
    """
    of_positive, of_negative = _placements(scores, labels)
    variance = _variance(of_positive, of_negative, labels, groups)
    if math.isnan(variance):
        return _NAN, _NAN
    area, half = float(of_positive.mean()), _Z95 * math.sqrt(variance)
    if variance == 0:
        return unvaried(area, (0.0, 1.0), _pairs(labels, groups)) or (_NAN, _NAN)
    return max(0.0, area - half), min(1.0, area + half)


def delong_test(
    first: np.ndarray,
    second: np.ndarray,
    labels: np.ndarray,
    groups: Sequence[str] | None = None,
) -> PairedTest:
    """Tests whether two scores of the same images have the same AUROC.

    Args:
        first: (n,) scores.
        second: (n,) scores.
        labels: (n,) in {0, 1}, both present.
        groups: (n) group names; an empty name is an image that stands alone. None if all do.

    Returns:
        The test. Its interval and p are nan if a class has fewer than two images or groups.
    """
    first_positive, first_negative = _placements(first, labels)
    second_positive, second_negative = _placements(second, labels)
    gain = first_positive - second_positive
    difference = float(gain.mean())
    variance = _variance(gain, first_negative - second_negative, labels, groups)
    if math.isnan(variance):
        return PairedTest(difference=difference, ci95=(_NAN, _NAN), p=_NAN)
    error, half = math.sqrt(variance), _Z95 * math.sqrt(variance)
    if error == 0:
        p = 1.0 if difference == 0 else 0.0
        room = unvaried(1.0, (0.0, 1.0), _pairs(labels, groups))
        half = 1.0 if room is None else room[1] - room[0]
    else:
        p = math.erfc(abs(difference) / error / math.sqrt(2))
    interval = max(-1.0, difference - half), min(1.0, difference + half)
    return PairedTest(difference=difference, ci95=interval, p=p)


def _placements(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(m,) each positive's share of negatives below it, (n,) each negative's of positives above."""
    positive, negative = scores[labels == 1], scores[labels == 0]
    joint = midranks(np.concatenate([positive, negative]))
    beaten = joint[: len(positive)] - midranks(positive)
    beating = joint[len(positive) :] - midranks(negative)
    return beaten / max(len(negative), 1), 1 - beating / max(len(positive), 1)


def _pairs(labels: np.ndarray, groups: Sequence[str] | None) -> int:
    """How many independent pairs of a positive and a negative there are."""
    group_of = np.arange(len(labels)) if groups is None else number_groups(groups)
    return min(len(np.unique(group_of[labels == label])) for label in (0, 1))


def _variance(
    of_positive: np.ndarray,
    of_negative: np.ndarray,
    labels: np.ndarray,
    groups: Sequence[str] | None,
) -> float:
    """The sampling variance of the components' mean (Obuchowski 1997)."""
    group_of = np.arange(len(labels)) if groups is None else number_groups(groups)
    total = int(group_of.max(initial=-1)) + 1
    m, n = len(of_positive), len(of_negative)
    positive_groups, negative_groups = group_of[labels == 1], group_of[labels == 0]
    with_positive, with_negative = len(set(positive_groups)), len(set(negative_groups))
    if with_positive < 2 or with_negative < 2:
        return _NAN
    excess_m = np.bincount(positive_groups, of_positive - of_positive.mean(), minlength=total)
    excess_n = np.bincount(negative_groups, of_negative - of_negative.mean(), minlength=total)
    own_m = with_positive / (with_positive - 1) * float(excess_m @ excess_m) / m**2
    own_n = with_negative / (with_negative - 1) * float(excess_n @ excess_n) / n**2
    shared = total / (total - 1) * float(excess_m @ excess_n) / (m * n)
    return max(own_m + own_n + 2 * shared, 0.0)

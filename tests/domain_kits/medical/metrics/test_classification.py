"""Calibration and the two points of the ROC curve, against scikit-learn, torchmetrics and hand."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import brier_score_loss, roc_curve
from torchmetrics.functional.classification import binary_calibration_error

from moekit_medical.metrics import METRICS
from moekit_medical.metrics.classification import (
    brier,
    expected_calibration_error,
    sensitivity_at_95_specificity,
    specificity_at_95_sensitivity,
)

ROC_POINTS = [sensitivity_at_95_specificity, specificity_at_95_sensitivity]


def draw(seed: int, n: int = 300, digits: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = (generator.random(n) < 0.3).astype(np.int64)
    scores = np.clip(generator.normal(0.35 + 0.3 * labels, 0.2), 0, 1)
    return (scores if digits is None else scores.round(digits)), labels


def test_the_kit_names_its_metrics():
    assert [metric.name for metric in METRICS] == [
        "ece",
        "brier",
        "sensitivity_at_95_specificity",
        "specificity_at_95_sensitivity",
    ]
    assert [metric.higher_is_better for metric in METRICS] == [False, False, True, True]


@pytest.mark.parametrize("seed", range(5))
def test_ece_is_that_of_torchmetrics(seed):
    scores, labels = draw(seed)
    expected = binary_calibration_error(
        torch.from_numpy(scores).float(), torch.from_numpy(labels), n_bins=15, norm="l1"
    )
    assert expected_calibration_error(scores, labels) == pytest.approx(float(expected), abs=1e-6)


def test_ece_is_the_weighted_gap_computed_by_hand():
    scores = np.array([0.0, 0.02, 0.5, 0.52, 1.0])
    labels = np.array([0, 1, 1, 1, 0])
    by_hand = 2 / 5 * abs(1 / 2 - 0.01) + 2 / 5 * abs(1 - 0.51) + 1 / 5 * abs(0 - 1.0)
    assert expected_calibration_error(scores, labels) == pytest.approx(by_hand)


def test_ece_looks_at_the_positive_class_and_not_at_the_predicted_one():
    scores, labels = np.array([0.1, 0.1]), np.array([1, 0])
    assert expected_calibration_error(scores, labels) == pytest.approx(0.4)


def test_certain_scores_are_calibrated_when_right_and_worst_when_wrong():
    labels = np.array([0, 1, 1, 0])
    assert expected_calibration_error(labels.astype(float), labels) == 0
    assert expected_calibration_error(1.0 - labels, labels) == 1


@pytest.mark.parametrize("seed", range(5))
def test_brier_is_that_of_scikit_learn(seed):
    scores, labels = draw(seed)
    assert brier(scores, labels) == pytest.approx(brier_score_loss(labels, scores), abs=1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_points_of_the_roc_curve_are_those_of_scikit_learn(seed):
    scores, labels = draw(seed, digits=2)
    false, true, _ = roc_curve(labels, scores, drop_intermediate=False)
    negatives = int((labels == 0).sum())
    passed = np.round(negatives - false * negatives) / negatives
    assert sensitivity_at_95_specificity(scores, labels) == true[passed >= 0.95].max()
    assert specificity_at_95_sensitivity(scores, labels) == passed[true >= 0.95].max()


def test_exactly_95_percent_is_enough():
    negatives = np.linspace(0, 0.4, 20)
    scores = np.append(negatives, [0.39, 0.5])
    labels = np.append(np.zeros(20, dtype=int), [1, 1])
    assert sensitivity_at_95_specificity(scores, labels) == 1.0
    assert specificity_at_95_sensitivity(scores, labels) == 19 / 20


def test_scores_that_are_all_equal_separate_nothing():
    scores, labels = np.full(10, 0.5), np.arange(10) % 2
    assert sensitivity_at_95_specificity(scores, labels) == 0
    assert specificity_at_95_sensitivity(scores, labels) == 0


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_nothing_is_undefined_and_order_and_threshold_have_no_influence(metric):
    scores, labels = draw(3)
    order = np.random.default_rng(1).permutation(len(scores))
    value = metric.compute(scores, labels, 0.5)
    assert metric.compute(scores[order], labels[order], 0.1) == value
    assert math.isnan(metric.compute(scores[:0], labels[:0], 0.5))


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
@pytest.mark.parametrize("seed", range(20))
def test_values_keep_their_bounds(metric, seed):
    scores, labels = draw(seed, n=5, digits=1)
    value = metric.compute(scores, labels, 0.5)
    assert math.isnan(value) or metric.bounds[0] <= value <= metric.bounds[1]


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_leaves_calibration_defined_and_the_roc_curve_not(label):
    scores, labels = np.array([0.25, 0.75]), np.full(2, label)
    assert brier(scores, labels) == pytest.approx((0.25**2 + 0.75**2) / 2)
    assert expected_calibration_error(scores, labels) == pytest.approx(0.5)
    assert all(math.isnan(metric(scores, labels)) for metric in ROC_POINTS)

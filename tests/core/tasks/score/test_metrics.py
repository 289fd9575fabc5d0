"""Metrics agree with independent implementations and are defined at their edges."""

import math

import numpy as np
import pytest
import torch
from sklearn import metrics as reference
from torchmetrics.functional import classification as other

from moekit.tasks.score.metrics import METRICS, accuracy, auroc, average_precision, f1, midranks


@pytest.fixture(params=[0, 1, 2])
def drawn(request):
    """Scores with and without ties."""
    generator = np.random.default_rng(request.param)
    labels = generator.integers(0, 2, 200)
    scores = np.clip(0.3 * labels + generator.random(200) * 0.7, 0, 1)
    return (scores.round(1) if request.param else scores), labels


def test_values_are_those_of_scikit_learn(drawn):
    scores, labels = drawn
    assert auroc(scores, labels) == pytest.approx(reference.roc_auc_score(labels, scores))
    assert average_precision(scores, labels) == pytest.approx(
        reference.average_precision_score(labels, scores)
    )
    called = scores >= 0.5
    assert accuracy(scores, labels, 0.5) == reference.accuracy_score(labels, called)
    assert f1(scores, labels, 0.5) == pytest.approx(reference.f1_score(labels, called))


def test_values_are_those_of_torchmetrics_to_single_precision(drawn):
    scores, labels = drawn
    given = torch.from_numpy(scores), torch.from_numpy(labels)
    assert auroc(scores, labels) == pytest.approx(other.binary_auroc(*given).item(), abs=1e-6)
    assert average_precision(scores, labels) == pytest.approx(
        other.binary_average_precision(*given).item(), abs=1e-6
    )


def test_a_score_at_the_threshold_counts_as_positive():
    assert accuracy(np.array([0.5]), np.array([1]), 0.5) == 1.0


def test_scores_closer_than_single_precision_keep_their_order():
    scores = np.array([0.5, 0.5 + 1e-12])
    assert auroc(scores, np.array([0, 1])) == 1.0


def test_areas_are_undefined_with_one_class_and_nothing_warns():
    scores, labels = np.array([0.2, 0.9]), np.array([1, 1])
    assert math.isnan(auroc(scores, labels))
    assert math.isnan(average_precision(scores, labels))


@pytest.mark.parametrize("spec", METRICS, ids=lambda spec: spec.name)
def test_no_metric_depends_on_the_order_or_fails_on_nothing(spec, drawn):
    scores, labels = drawn
    order = np.random.default_rng(9).permutation(len(scores))
    assert spec.compute(scores[order], labels[order], 0.5) == pytest.approx(
        spec.compute(scores, labels, 0.5)
    )
    empty = spec.compute(np.array([]), np.array([], dtype=np.int64), 0.5)
    assert math.isnan(empty)


def test_midranks_share_the_mean_rank():
    assert midranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == [3.5, 1.0, 3.5, 2.0]

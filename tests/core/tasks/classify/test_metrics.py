"""Metrics of classes agree with scikit-learn and torchmetrics, and are quick."""

import math
import time

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from torchmetrics.functional import classification as tm

from moekit.tasks.classify.metrics import (
    CLASS_METRICS,
    balanced_accuracy,
    ece_top,
    label_macro_f1,
    macro_auroc,
    macro_f1,
    mean_average_precision,
    top1,
    top5,
    unseen_auroc,
)

SEEDS = range(4)


@pytest.fixture(params=SEEDS)
def one(request, tally):
    made = tally(120, 7, seed=request.param)
    return made.probability_NC, made.labels_N


@pytest.fixture(params=SEEDS)
def several(request, tally):
    made = tally(90, 5, seed=request.param, several=True)
    return np.round(made.probability_NC, 2), made.labels_NC


@pytest.mark.parametrize("spec", CLASS_METRICS, ids=lambda spec: spec.name)
def test_each_gives_its_known_answers(spec):
    assert spec.task == "classify"
    for example in spec.examples:
        given = [np.asarray(example.given[name]) for name in spec.needs]
        assert spec.compute(*given) == pytest.approx(example.value, abs=1e-9)


def test_top1_and_balanced_accuracy_are_scikit_learns(one):
    said = one[0].argmax(1)
    assert top1(*one) == pytest.approx(sk.accuracy_score(one[1], said), abs=1e-12)
    assert balanced_accuracy(*one) == pytest.approx(
        sk.balanced_accuracy_score(one[1], said), abs=1e-12
    )


def test_top5_is_scikit_learns(one):
    expected = sk.top_k_accuracy_score(one[1], one[0], k=5, labels=range(7))
    assert top5(*one) == pytest.approx(expected, abs=1e-12)


def test_macro_f1_is_scikit_learns(one):
    expected = sk.f1_score(one[1], one[0].argmax(1), average="macro")
    assert macro_f1(*one) == pytest.approx(expected, abs=1e-12)


def test_macro_f1_counts_a_class_that_is_answered_and_not_there():
    probability_NC, labels_N = np.eye(3)[[0, 1, 2, 0]], np.array([0, 0, 1, 0])
    expected = sk.f1_score(labels_N, probability_NC.argmax(1), average="macro", zero_division=0)
    assert macro_f1(probability_NC, labels_N) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("digits", [1, 12])
def test_macro_auroc_is_that_of_both_libraries_with_ties_and_without(one, digits):
    probability_NC = np.round(one[0], digits)
    values = [sk.roc_auc_score(one[1] == label, probability_NC[:, label]) for label in range(7)]
    assert macro_auroc(probability_NC, one[1]) == pytest.approx(np.mean(values), abs=1e-12)
    there = tm.multiclass_auroc(
        torch.from_numpy(probability_NC), torch.from_numpy(one[1]), num_classes=7
    )
    assert macro_auroc(probability_NC, one[1]) == pytest.approx(float(there), abs=1e-6)


def test_macro_auroc_leaves_out_a_class_that_is_not_there(one):
    kept = one[1] != 3
    probability_NC, labels_N = one[0][kept], one[1][kept]
    values = [
        sk.roc_auc_score(labels_N == label, probability_NC[:, label])
        for label in (0, 1, 2, 4, 5, 6)
    ]
    assert macro_auroc(probability_NC, labels_N) == pytest.approx(np.mean(values), abs=1e-12)


def test_the_calibration_error_is_torchmetrics(one):
    expected = tm.multiclass_calibration_error(
        torch.from_numpy(one[0]), torch.from_numpy(one[1]), num_classes=7, n_bins=15
    )
    assert ece_top(*one) == pytest.approx(float(expected), abs=1e-6)


def test_mean_average_precision_is_scikit_learns_with_ties(several):
    expected = sk.average_precision_score(several[1], several[0], average="macro")
    assert mean_average_precision(*several) == pytest.approx(expected, abs=1e-12)


def test_label_f1_is_scikit_learns_at_the_thresholds(several):
    thresholds_C = np.array([0.2, 0.4, 0.5, 0.6, 0.8])
    expected = sk.f1_score(several[1], several[0] >= thresholds_C, average="macro")
    assert label_macro_f1(*several, thresholds_C) == pytest.approx(expected, abs=1e-12)


def test_the_open_set_score_is_judged_as_scikit_learn_does(tally):
    made = tally(80, 4, unseen=20)
    expected = sk.roc_auc_score(made.unseen_N, made.unlike_N)
    assert unseen_auroc(made.unlike_N, made.unseen_N) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    "compute", [top1, balanced_accuracy, macro_f1, macro_auroc, ece_top], ids=lambda f: f.__name__
)
def test_items_of_no_class_change_no_figure_of_the_classes(tally, compute):
    made = tally(60, 4, unseen=10)
    known = made.take(np.flatnonzero(made.labels_N >= 0))
    assert compute(made.probability_NC, made.labels_N) == compute(
        known.probability_NC, known.labels_N
    )


@pytest.mark.parametrize("spec", CLASS_METRICS, ids=lambda spec: spec.name)
def test_nothing_at_all_is_undefined_without_a_warning(spec):
    empty = {
        "probability_NC": np.zeros((0, 7)),
        "labels_N": np.zeros(0, dtype=np.int64),
        "labels_NC": np.zeros((0, 7), dtype=np.int64),
        "thresholds_C": np.full(7, 0.5),
        "unlike_N": np.zeros(0),
        "unseen_N": np.zeros(0, dtype=np.int64),
    }
    assert math.isnan(spec.compute(*(empty[name] for name in spec.needs)))


def test_what_one_class_cannot_define_is_undefined(tally):
    made = tally(20, 4)
    rows = made.labels_N == 2
    assert math.isnan(macro_auroc(made.probability_NC[rows], made.labels_N[rows]))
    assert math.isnan(unseen_auroc(made.unlike_N, made.unseen_N))
    assert math.isnan(top5(made.probability_NC, made.labels_N))


def test_equal_probabilities_earn_no_place_among_the_first_five():
    assert top5(np.full((10, 100), 0.01), np.arange(10)) == 0.0


@pytest.mark.parametrize(
    "spec",
    [spec for spec in CLASS_METRICS if spec.needs == ("probability_NC", "labels_N")],
    ids=lambda spec: spec.name,
)
def test_two_thousand_resamples_of_800_items_and_100_classes_take_seconds(spec, tally):
    made = tally(800, 100)
    rows = np.random.default_rng(0).integers(800, size=(20, 800))
    began = time.process_time()
    for chosen in rows:
        spec.compute(made.probability_NC[chosen], made.labels_N[chosen])
    assert (time.process_time() - began) * 100 < 30

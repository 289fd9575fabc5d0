"""A metric in each subgroup."""

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from moekit.tasks.score.metrics import METRICS as CORE_METRICS
from moekit.tasks.score.predictions import Predictions
from moekit_medical.metrics import METRICS
from moekit_medical.metrics.subgroups import by_subgroup

BRIER = next(metric for metric in METRICS if metric.name == "brier")
AUROC = next(metric for metric in CORE_METRICS if metric.name == "auroc")


@pytest.fixture
def predictions() -> Predictions:
    generator = np.random.default_rng(0)
    labels = np.tile([0, 1], 30)
    return Predictions(
        ids=tuple(f"scan{index}" for index in range(60)),
        labels=labels,
        scores=np.clip(generator.normal(0.3 + 0.4 * labels, 0.2), 0, 1),
    )


def test_each_subgroup_has_the_metric_of_its_own_samples(predictions):
    subgroup_of = {f"scan{index}": "F" if index < 40 else "M" for index in range(60)}
    female, male = by_subgroup(
        BRIER, predictions, threshold=0.5, subgroup_of=subgroup_of, seed=0, resamples=100
    )
    assert (female.name, female.n, female.positives) == ("F", 40, 20)
    assert (male.name, male.n, male.positives) == ("M", 20, 10)
    for group, rows in ((female, slice(0, 40)), (male, slice(40, 60))):
        expected = brier_score_loss(predictions.labels[rows], predictions.scores[rows])
        assert group.value == pytest.approx(expected)
        assert group.ci95[0] < group.value < group.ci95[1]


def test_samples_without_a_subgroup_are_kept_as_unknown_and_come_last(predictions):
    groups = by_subgroup(
        BRIER,
        predictions,
        threshold=0.5,
        subgroup_of={"scan0": "z", "scan1": "", "elsewhere": "a"},
        seed=0,
        resamples=20,
    )
    assert [(group.name, group.n) for group in groups] == [("z", 1), ("unknown", 59)]


def test_a_subgroup_of_one_class_has_its_counts_and_no_value(predictions):
    subgroup_of = {f"scan{index}": str(index % 2) for index in range(60)}
    groups = by_subgroup(
        AUROC, predictions, threshold=0.5, subgroup_of=subgroup_of, seed=0, resamples=20
    )
    assert [(group.n, group.positives) for group in groups] == [(30, 0), (30, 30)]
    assert all(group.value is None and group.ci95 is None for group in groups)


def test_the_order_of_samples_changes_no_value(predictions):
    subgroup_of = {f"scan{index}": str(index % 3) for index in range(60)}
    shuffled = predictions.take(np.random.default_rng(2).permutation(60))
    first, second = (
        by_subgroup(AUROC, given, threshold=0.5, subgroup_of=subgroup_of, seed=0, resamples=20)
        for given in (predictions, shuffled)
    )
    assert [group.value for group in first] == [group.value for group in second]


def test_no_samples_make_no_subgroups():
    empty = Predictions(ids=(), labels=np.empty(0, dtype=np.int64), scores=np.empty(0))
    assert by_subgroup(BRIER, empty, threshold=0.5, subgroup_of={}, seed=0) == ()

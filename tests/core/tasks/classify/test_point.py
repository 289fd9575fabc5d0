"""What is chosen on validation data keeps its promise."""

import json

import numpy as np
import pytest
from sklearn.metrics import f1_score

from moekit.data.samples import Sample
from moekit.tasks.classify.point import (
    ClassPoint,
    LabelPoint,
    choose_point,
    chosen_with_interval,
)
from moekit.tasks.classify.refusal import refused_rows
from moekit.tasks.classify.spec import CLASSIFY
from moekit.testing import refused


def test_without_a_rule_nothing_is_refused(tally):
    point = choose_point(tally(), "top")
    assert point == ClassPoint(rule="top", n=60)
    assert not refused_rows(point, np.array([1e9]), 1).any()


@pytest.mark.parametrize("share", [0.0, 0.02, 0.05, 0.2, 0.9])
def test_refusal_keeps_its_promise_and_no_lower_bound_would(tally, share):
    made = tally(100, 4, unseen=20)
    point = choose_point(made, f"refuse={share}")
    known = made.unlike_N[made.labels_N >= 0]
    refused = refused_rows(point, known, len(known)).mean()
    assert refused == pytest.approx(point.refused)
    assert refused <= share
    below = known[known < point.refuse_above]
    if len(below):
        assert (known > below.max()).mean() > share


def test_two_of_a_hundred_are_two_per_cent(tally):
    made = tally(100, 4)
    assert choose_point(made, "refuse=0.02").refused == 0.02


def test_an_open_set_score_that_is_no_number_is_refused():
    point = ClassPoint(rule="refuse=0.1", n=9, refuse_above=0.5)
    assert refused_rows(point, np.array([np.nan, 0.4, 0.6]), 3).tolist() == [True, False, True]


@pytest.mark.parametrize("rule", ["top", "f1"])
def test_thresholds_of_labels_have_the_greatest_f1(tally, rule):
    made = tally(80, 3, several=True)
    point = choose_point(made, rule)
    assert point.rule == "f1"
    for label in range(3):
        column, truth = made.probability_NC[:, label], made.labels_NC[:, label]
        reached = f1_score(truth, column >= point.thresholds[label])
        best = max(f1_score(truth, column >= cut) for cut in np.unique(column))
        assert reached == pytest.approx(best)
        assert point.values[label] == pytest.approx(best)


def test_false_alarms_of_labels_are_kept_and_no_lower_threshold_would(tally):
    made = tally(80, 3, several=True)
    point = choose_point(made, "max-false-alarm=0.1")
    for label in range(3):
        column, truth = made.probability_NC[:, label], made.labels_NC[:, label] == 1
        assert (column[~truth] >= point.thresholds[label]).mean() <= 0.1
        lower = column[~truth][column[~truth] < point.thresholds[label]].max()
        assert (column[~truth] >= lower).mean() > 0.1


def test_a_label_that_validation_lacks_gets_one_half_and_no_value(tally):
    made = tally(30, 3, several=True)
    made.labels_NC[:, 1] = 0
    point = choose_point(made, "f1")
    assert (point.thresholds[1], point.values[1]) == (0.5, None)
    (said,) = point.in_words()
    assert said.startswith("2 of 3 thresholds from ")
    assert said.endswith("; the other labels' are 0.5000, since no item tells of them")


def test_thresholds_of_which_none_was_chosen_are_not_said_to_be(tally):
    made = tally(30, 3, several=True)
    made.labels_NC[:] = 0
    (said,) = choose_point(made, "f1").in_words()
    assert said.startswith("no threshold can be chosen by the rule f1 on 30 items of the val split")
    assert said.endswith("all 3 are 0.5000")


@pytest.mark.parametrize("rule", ["top", "f1"])
def test_thresholds_of_labels_that_very_few_items_have_are_warned_of(tally, rule):
    made = tally(200, 4, several=True)
    assert chosen_with_interval(made, rule).warning == ""
    made.labels_NC[:, 1] = 0
    made.labels_NC[:19, 2] = 1
    made.labels_NC[19:, 2] = 0
    made.labels_NC[:3, 3] = 1
    made.labels_NC[3:, 3] = 0
    point = chosen_with_interval(made, rule)
    assert "on 3 items with the label class 3 (1 other label has" in point.warning
    assert point.as_json()["warning"] == point.warning == point.in_words()[-1]
    made.labels_NC[1:3, 3] = 0
    assert "on 1 item with the label class 3" in chosen_with_interval(made, rule).warning


@pytest.mark.parametrize(
    "rule",
    ["best", "refuse", "refuse=1", "refuse=-0.1", "refuse=nan", "top=0.1", "max-false-alarm=x", ""],
)
def test_an_unknown_rule_is_named_with_those_that_there_are(tally, rule):
    with refused("usage/unknown-rule"):
        choose_point(tally(), rule)


def test_rules_for_the_other_kind_of_labels_are_refused(tally):
    with refused("usage/not-for-task"):
        choose_point(tally(), "f1")
    with refused("usage/not-for-task"):
        choose_point(tally(several=True), "refuse=0.1")


def test_refusal_without_open_set_scores_says_so(tally):
    made = tally(several=False)
    bare = made.take(np.arange(10))
    object.__setattr__(bare, "unlike_N", None)
    with refused("data/no-open-scores"):
        choose_point(bare, "refuse=0.1")


def test_points_are_json(tally):
    one = json.dumps(choose_point(tally(), "refuse=0.1").as_json(), allow_nan=False)
    assert json.loads(one)["rule"] == "refuse=0.1"
    several = choose_point(tally(several=True), "f1")
    assert isinstance(several, LabelPoint)
    told = json.loads(json.dumps(several.as_json(), allow_nan=False))
    assert len(told["thresholds"]) == 4
    assert several.brief() == {"thresholds": list(several.thresholds)}
    assert set(choose_point(tally(), "top").brief()) == {"refuse_above"}


@pytest.mark.parametrize(
    ("rule", "labels", "code"),
    [
        ("f1", None, "usage/not-for-task"),
        ("max-false-alarm=0.1", None, "usage/not-for-task"),
        ("refuse=0.1", (0, 1), "usage/not-for-task"),
        ("refuse=0.1", None, ""),
        ("top", (0, 1), ""),
        ("f1", (), ""),
        ("best", None, "usage/unknown-rule"),
        ("refuse=nan", None, "usage/unknown-rule"),
    ],
)
def test_a_rule_for_other_labels_is_refused_before_a_training(tmp_path, rule, labels, code):
    samples = [Sample(id=name, path=tmp_path / name, label=0, labels=labels) for name in "ab"]
    check = CLASSIFY.judge.check_rule
    if not code:
        check(rule, samples)
        return
    with refused(code):
        check(rule, samples)

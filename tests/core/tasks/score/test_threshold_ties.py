"""Validation scores that tell nothing apart: equal ones, and those by which all get one verdict."""

from __future__ import annotations

import numpy as np
import pytest

from moekit.tasks.score.tail import tail_limit
from moekit.tasks.score.threshold import RULES, choose_threshold
from moekit.testing import refused

SHARES = {"SHARE,RISK": "0.1,0.1", "SHARE": "0.05"}
EACH = [
    rule.replace("SHARE,RISK", SHARES["SHARE,RISK"]).replace("SHARE", SHARES["SHARE"])
    for rule in RULES
]
OF_NEGATIVES = [rule for rule in EACH if "alarm" in rule or rule.startswith("tail")]
BOTH = np.arange(60) % 2


@pytest.mark.parametrize("rule", EACH)
@pytest.mark.parametrize("score", [0.0, 0.5, 1.0])
def test_equal_scores_are_told(rule, score):
    point = choose_threshold(np.full(60, score), BOTH, rule=rule)
    assert "All 60 scores" in point.warning
    assert point.warning in point.as_json()["warning"]
    assert point.warning in point.in_words()


@pytest.mark.parametrize("rule", OF_NEGATIVES)
@pytest.mark.parametrize("score", [0.0, 0.5, 1.0])
def test_equal_scores_of_negatives_only_are_told_and_pass(rule, score):
    scores = np.full(60, score)
    point = choose_threshold(scores, np.zeros(60, dtype=int), rule=rule)
    assert "All 60 scores" in point.warning
    assert not (scores >= point.threshold).any()


@pytest.mark.parametrize("count", [5, 60])
def test_a_tail_next_to_one_begins_above_all_negatives(count):
    scores = np.full(count, 1.0)
    assert tail_limit(scores, alarms=0.01) > 1.0
    spread = np.linspace(0.2, 0.4, count)
    assert tail_limit(spread, alarms=0.01) < 1.0


def test_a_threshold_that_gives_all_images_one_verdict_is_told():
    turned = np.concatenate([np.linspace(0.6, 0.9, 40), np.linspace(0.1, 0.4, 40)])
    labels = np.repeat([0, 1], 40)
    assert "all 80 images" in choose_threshold(turned, labels, rule="f1").warning
    none = choose_threshold(turned, labels, rule="tail=0.001")
    assert "none of 80 images" in none.warning
    right = choose_threshold(1 - turned, labels, rule="f1")
    assert right.warning == ""


def test_negatives_of_one_score_show_no_tail():
    scores = np.repeat([0.2, 0.8], 30)
    point = choose_threshold(scores, np.repeat([0, 1], 30), rule="tail=0.01")
    assert "they show no tail" in point.warning
    assert choose_threshold(scores, np.repeat([0, 1], 30), rule="max-miss=0.05").warning == ""


def test_negatives_only_that_all_pass_are_no_fault():
    scores = np.linspace(0.1, 0.3, 60)
    point = choose_threshold(scores, np.zeros(60, dtype=int), rule="max-false-alarm=0")
    assert point.warning == ""


@pytest.mark.parametrize("rule", ["certified-miss=0.1,0.1", "certified-false-alarm=0.1,0.1"])
def test_too_few_images_of_the_class_are_refused_with_the_number_that_would_do(rule):
    scores, labels = np.linspace(0, 1, 42), np.arange(42) % 2
    with refused("data/too-few", match="21 images"):
        choose_threshold(scores, labels, rule=rule)
    labels = np.arange(44) % 2
    assert choose_threshold(np.linspace(0, 1, 44), labels, rule=rule).guarantee.n == 22


@pytest.mark.parametrize("rule", EACH)
def test_one_class_that_does_not_do_for_the_rule_is_refused(rule):
    scores = np.linspace(0, 1, 60)
    with refused("data/one-class"):
        choose_threshold(scores, np.ones(60, dtype=int), rule=rule)
    if rule not in OF_NEGATIVES:
        with refused("data/one-class"):
            choose_threshold(scores, np.zeros(60, dtype=int), rule=rule)

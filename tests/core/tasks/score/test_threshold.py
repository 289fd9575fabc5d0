"""The operating threshold: best by its rule, from validation scores, the same on ties."""

import numpy as np
import pytest

from moekit.tasks.score.metrics import accuracy, f1
from moekit.tasks.score.threshold import (
    OperatingPoint,
    choose_threshold,
    review_threshold,
    verdict,
)
from moekit.testing import refused

SCORES = np.array([0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9])
LABELS = np.array([0, 0, 0, 1, 0, 1, 1, 1])


@pytest.mark.parametrize(("rule", "metric"), [("accuracy", accuracy), ("f1", f1)])
def test_no_other_threshold_is_better_by_the_rule(rule, metric):
    generator = np.random.default_rng(1)
    labels = generator.integers(0, 2, 80)
    scores = np.clip(labels * 0.2 + generator.random(80), 0, 1)
    point = choose_threshold(scores, labels, rule=rule)
    best = max(metric(scores, labels, threshold) for threshold in np.linspace(0, 1.2, 2000))
    assert metric(scores, labels, point.threshold) >= best - 1e-12
    assert point.value == pytest.approx(best)


def test_the_threshold_lies_between_scores_not_on_one():
    point = choose_threshold(SCORES, LABELS, rule="accuracy")
    assert point.threshold not in SCORES


def test_max_miss_is_the_highest_threshold_that_keeps_its_promise():
    point = choose_threshold(SCORES, LABELS, rule="max-miss=0")
    assert 0.3 < point.threshold <= 0.4
    looser = choose_threshold(SCORES, LABELS, rule="max-miss=0.25")
    assert 0.6 < looser.threshold <= 0.7


def test_max_false_alarm_is_the_lowest_threshold_that_keeps_its_promise():
    point = choose_threshold(SCORES, LABELS, rule="max-false-alarm=0")
    assert 0.6 < point.threshold <= 0.7
    assert point.value == 0
    looser = choose_threshold(SCORES, LABELS, rule="max-false-alarm=0.25")
    assert 0.3 < looser.threshold <= 0.4
    assert looser.value == 0.25


def test_the_order_of_the_scores_changes_nothing():
    order = np.random.default_rng(0).permutation(len(SCORES))
    for rule in ("accuracy", "f1", "youden"):
        assert choose_threshold(SCORES, LABELS, rule=rule) == choose_threshold(
            SCORES[order], LABELS[order], rule=rule
        )


def test_one_class_cannot_choose():
    with refused("data/one-class"):
        choose_threshold(SCORES, np.zeros(8, dtype=int))


@pytest.mark.parametrize("rule", ["best", "max-miss", "max-miss=two", "max-false-alarm=1.5"])
def test_an_unknown_rule_is_told_with_the_known_ones(rule):
    with refused("usage/unknown-rule", match="youden"):
        choose_threshold(SCORES, LABELS, rule=rule)


@pytest.mark.parametrize("allowed", range(1, 30))
def test_a_share_that_is_a_whole_number_of_images_is_used_up(allowed):
    scores = np.concatenate([np.linspace(0.5, 0.99, 100), np.linspace(0, 0.4, 20)])
    labels = np.repeat([1, 0], [100, 20])
    point = choose_threshold(scores, labels, rule=f"max-miss={allowed / 100}")
    assert (scores[:100] < point.threshold).sum() == allowed
    assert point.value == allowed / 100


@pytest.mark.parametrize(
    ("score", "expected"),
    [(0.9, "odd"), (0.5, "odd"), (0.49, "review"), (0.2, "review"), (0.19, "pass")],
)
def test_a_verdict_has_a_review_zone_below_the_threshold(score, expected):
    assert verdict(score, threshold=0.5, review=0.2, positive="odd") == expected


def test_without_a_review_zone_there_are_two_verdicts():
    assert verdict(0.49, threshold=0.5, positive="odd") == "pass"


def test_a_score_that_is_no_number_is_not_passed():
    assert verdict(float("nan"), threshold=0.5, review=0.2, positive="odd") == "odd"


def test_the_review_zone_begins_where_a_share_of_negatives_is_below_it_or_at_a_number():
    scores = np.array([0.1, 0.2, 0.3, 0.4, 0.8, 0.9])
    labels = np.array([0, 0, 0, 0, 1, 1])
    point = choose_threshold(scores, labels)
    assert review_threshold("0.33", scores, labels, point=point) == 0.33
    low = review_threshold("max-false-alarm=0.25", scores, labels, point=point)
    assert low == pytest.approx(0.35)
    assert (scores[labels == 0] >= low).mean() == 0.25


@pytest.mark.parametrize("text", ["0.99", "0", "-1", "1", "nan", "much", "f1", "max-miss=0.1"])
def test_a_review_zone_that_is_none_is_refused(text):
    scores, labels = np.array([0.1, 0.2, 0.8, 0.9]), np.array([0, 0, 1, 1])
    point = choose_threshold(scores, labels)
    with refused("usage/review-zone"):
        review_threshold(text, scores, labels, point=point)


def test_a_review_zone_above_the_threshold_is_refused():
    scores, labels = np.array([0.1, 0.2, 0.8, 0.9]), np.array([0, 0, 1, 1])
    point = OperatingPoint(threshold=0.3, rule="accuracy", split="val", n=4, value=1.0)
    with refused("usage/review-zone", match=r"0\.5"):
        review_threshold("max-false-alarm=0", scores, labels, point=point)


def test_a_misspelt_rule_is_named_before_the_classes_are_counted() -> None:
    with refused("usage/unknown-rule", match=r"'tale=0\.02'"):
        choose_threshold(np.linspace(0.1, 0.4, 10), np.zeros(10, int), rule="tale=0.02")

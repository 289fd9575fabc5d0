"""The tail of the negatives' scores: thresholds from negatives only, and how sure they are."""

import numpy as np
import pytest
from scipy import special, stats

from moekit.tasks.score.tail import counted_interval, fit_tail, tail_threshold
from moekit.tasks.score.threshold import choose_threshold
from moekit.testing import refused


def _scores(count, seed, scale=0.3):
    logits = np.random.default_rng(seed).gumbel(size=count) * scale - 2
    return special.expit(logits)


def test_the_threshold_keeps_its_promise_on_new_negatives_on_average():
    shares = [
        (_scores(50_000, 1000 + seed) >= tail_threshold(_scores(100, seed), alarms=0.02)[0]).mean()
        for seed in range(20)
    ]
    assert 0.015 < np.mean(shares) < 0.035


def test_most_intervals_hold_the_true_share():
    held = 0
    for seed in range(20):
        threshold, (low, high) = tail_threshold(_scores(100, seed), alarms=0.02)
        held += low <= (_scores(50_000, 1000 + seed) >= threshold).mean() <= high
    assert held >= 15


def test_moments_find_the_parameters_of_a_generalised_pareto_sample():
    excess = stats.genpareto.rvs(0.2, scale=0.5, size=40_000, random_state=1)
    tail = fit_tail(special.expit(np.concatenate([np.full(120_000, -8.0), excess - 8.0])))
    assert tail.shape == pytest.approx(0.2, abs=0.03)
    assert tail.beyond(tail.quantile(0.01)) == pytest.approx(0.01)


def test_a_smaller_promise_is_a_higher_threshold_beyond_the_greatest_score():
    scores = _scores(60, 3)
    limits = [tail_threshold(scores, alarms=share)[0] for share in (0.2, 0.05, 0.01, 0.001)]
    assert limits == sorted(limits)
    assert limits[-1] > scores.max()


def test_equal_scores_and_scores_of_one_do_not_fail():
    for scores in (np.full(30, 0.25), np.concatenate([_scores(30, 0), np.ones(3)])):
        threshold, (low, high) = tail_threshold(scores, alarms=0.01)
        assert np.isfinite([threshold, low, high]).all()


def test_too_few_negatives_are_refused():
    with refused("data/too-few"):
        fit_tail(_scores(19, 0))


def test_few_negatives_have_the_limit_of_the_next_normal_one():
    draw = np.random.default_rng(0)
    beyond = []
    for _ in range(400):
        logits = draw.normal(-1, 0.4, size=8)
        threshold, (low, high) = tail_threshold(special.expit(logits), alarms=0.1)
        beyond.append(stats.norm.sf((special.logit(threshold) + 1) / 0.4))
        assert 0 <= low < high <= 1
    assert np.mean(beyond) == pytest.approx(0.1, abs=0.015)


def test_two_negatives_are_refused():
    with refused("data/too-few"):
        tail_threshold(_scores(2, 0), alarms=0.02)


def test_negatives_alone_are_enough_for_the_rules_that_look_at_them():
    scores = _scores(64, 5)
    labels = np.zeros(64, dtype=np.int64)
    tail = choose_threshold(scores, labels, rule="tail=0.02")
    counted = choose_threshold(scores, labels, rule="max-false-alarm=0.05")
    assert tail.ci95[0] < 0.02 < tail.ci95[1]
    assert counted.value <= 0.05
    assert counted.ci95 == counted_interval(round(counted.value * 64), 64)
    with refused("data/one-class"):
        choose_threshold(scores, labels, rule="f1")


@pytest.mark.parametrize("rule", ["tail", "tail=0", "tail=0.3", "tail=-1"])
def test_a_tail_that_cannot_be_promised_is_refused(rule):
    with refused("usage/unknown-rule"):
        choose_threshold(_scores(64, 5), np.zeros(64, dtype=np.int64), rule=rule)


def test_the_counted_interval_is_the_exact_one():
    assert counted_interval(0, 100) == pytest.approx((0.0, 0.0362), abs=1e-4)
    assert counted_interval(5, 100) == pytest.approx((0.0164, 0.1128), abs=1e-4)

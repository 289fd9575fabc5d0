"""Shares have intervals with a width, which hold the truth; groups count as what they tell."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from moekit import MetricSpec
from moekit.evaluation import paired_interval, share_of, wilson_interval
from moekit.evaluation.bootstrap import Resamples
from moekit.evaluation.summary import difference_ci95, measure
from moekit.tasks.score.metrics import METRICS, accuracy, auroc
from moekit.tasks.score.predictions import Predictions
from moekit.tasks.score.threshold import OperatingPoint
from moekit.testing import refused

POINT = OperatingPoint(threshold=0.5, rule="-", split="val", n=1, value=0.0)


def scored(labels, scores, groups=None):
    return Predictions(
        ids=tuple(str(row) for row in range(len(labels))),
        labels=np.asarray(labels),
        scores=np.asarray(scores, dtype=float),
        groups=groups,
    )


def measured(given, metrics=METRICS, resamples=100):
    drawn = Resamples(given, seed=0, count=resamples)
    return {one.spec.name: one for one in measure(metrics, given, POINT, drawn)}


@pytest.mark.parametrize(("hits", "count"), [(0, 6), (6, 6), (3, 7), (81, 263), (1, 1)])
def test_the_interval_of_lone_items_is_wilsons(hits, count):
    expected = stats.binomtest(hits, count).proportion_ci(method="wilson")
    share = share_of(np.arange(count) < hits, np.ones(count))
    assert share.ci95 == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert wilson_interval(hits, count) == pytest.approx(share.ci95)
    assert share.effective == count


def test_items_that_are_not_there_do_not_count():
    share = share_of(np.array([1, 0, 0]), np.array([1, 0, 1]))
    assert (share.value, share.of) == (0.5, 2)
    assert share_of(np.zeros(3), np.zeros(3)).ci95 is None


def test_copies_in_a_group_tell_as_much_as_one():
    hits = np.random.default_rng(0).integers(0, 2, 40)
    groups = tuple(str(row // 25) for row in range(1000))
    alone, copied = (
        share_of(hits, np.ones(40)),
        share_of(np.repeat(hits, 25), np.ones(1000), groups),
    )
    assert copied.value == alone.value
    assert copied.effective == pytest.approx(40 * 39 / 40 * (1.959964 / 2.022691) ** 2, rel=1e-4)


def test_of_groups_in_which_nothing_was_found_each_counts_once():
    share = share_of(np.zeros(60), np.ones(60), tuple(str(row // 10) for row in range(60)))
    assert share.effective == 6
    assert share.ci95 == wilson_interval(0, 6)


def test_groups_of_independent_items_cost_little():
    hits = np.random.default_rng(1).random(2000) < 0.3
    share = share_of(hits, np.ones(2000), tuple(str(row // 10) for row in range(2000)))
    assert 1200 < share.effective <= 2000


@pytest.mark.parametrize(("share", "groups"), [(0.05, 30), (0.5, 12), (0.9, 60)])
def test_the_interval_of_groups_holds_the_truth(share, groups):
    """Groups of 1 to 9 items, half of the scatter between them; 300 draws, 95% wanted.

    Fewer than 272 of 300 have a chance of 1 in 1,000 if the interval holds what it says.
    """
    generator, held = np.random.default_rng(7), 0
    assert stats.binom.cdf(271, 300, 0.95) < 1.1e-3
    for _ in range(300):
        sizes = generator.integers(1, 10, groups)
        rates = generator.beta(share, 1 - share, groups)  # correlation within groups 0.5
        hits = np.concatenate(
            [generator.random(size) < rate for size, rate in zip(sizes, rates, strict=True)]
        )
        names = tuple(str(one) for one in np.repeat(np.arange(groups), sizes))
        low, high = share_of(hits, np.ones(len(hits)), names).ci95
        held += low <= share <= high
    assert held >= 272


def test_no_share_of_few_items_has_an_interval_without_width():
    perfect = measured(scored([0] * 6 + [1] * 4, [0.1] * 6 + [0.9] * 4))
    for name in ("accuracy", "sensitivity", "specificity"):
        low, high = perfect[name].ci95
        assert (low, high) == pytest.approx(
            wilson_interval(perfect[name].share.hits, perfect[name].share.of)
        )
        assert low < 0.8


def test_a_perfect_ranking_of_few_items_has_an_interval_with_a_width():
    perfect = measured(scored([0] * 6 + [1] * 4, [0.1] * 6 + [0.9] * 4))
    assert perfect["auroc"].ci95 == pytest.approx(list(wilson_interval(4, 4)))


def test_a_figure_that_nothing_varies_has_no_interval():
    half = MetricSpec(
        name="half",
        compute=lambda *_: 0.5,
        higher_is_better=True,
        bounds=(0, 1),
        summary="",
        source="",
    )
    assert measured(scored([0, 1], [0.1, 0.9]), [half])["half"].ci95 is None


def test_a_metric_that_does_not_say_what_it_counts_has_a_bootstrap():
    plain = MetricSpec(
        name="plain", compute=accuracy, higher_is_better=True, bounds=(0, 1), summary="", source=""
    )
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 80)
    given = scored(labels, np.clip(labels * 0.3 + generator.random(80) * 0.7, 0, 1))
    found = measured(given, [plain, *METRICS])
    assert found["plain"].share is None
    assert found["plain"].ci95 != found["accuracy"].ci95
    assert found["plain"].ci95 == pytest.approx(found["accuracy"].ci95, abs=0.06)


@pytest.mark.parametrize(
    "counts",
    [
        lambda scores, labels, _: (labels == 1, labels == 0),
        lambda scores, labels, _: (labels[:-1], labels[:-1]),
        lambda scores, labels, _: (labels == 1, labels >= 0),
    ],
)
def test_a_share_that_is_not_what_the_metric_computes_is_refused(counts):
    (spec,) = (one for one in METRICS if one.name == "sensitivity")
    with refused("plugin/metric-share"):
        measured(scored([0, 1, 1], [0.1, 0.9, 0.2]), [dataclasses.replace(spec, share=counts)])


def test_the_difference_of_shares_of_the_same_items_is_tangos():
    """Tango 1998, table: 43 of 50 agree, 7 change in one way and none in the other."""
    first = np.array([1] * 7 + [0] * 43, dtype=bool)
    second = np.zeros(50, dtype=bool)
    low, high = paired_interval(first, second, np.ones(50, dtype=bool))
    for bound in (low, high):  # the score statistic at the bounds, written out again
        b, c, n = 7, 0, 50
        linear = -b - c + (2 * n - b + c) * bound
        q = (np.sqrt(linear**2 + 8 * n * c * bound * (1 - bound)) - linear) / (4 * n)
        z = (b - c - n * bound) / np.sqrt(n * (2 * q + bound * (1 - bound)))
        assert abs(z) == pytest.approx(1.959964, abs=1e-5)
    assert low < 0.14 < high


def test_shares_that_agree_in_all_items_may_still_differ():
    same = np.array([1, 0, 1, 1, 0, 1], dtype=bool)
    low, high = paired_interval(same, same, np.ones(6, dtype=bool))
    assert high == pytest.approx(1.959964**2 / (6 + 1.959964**2), abs=1e-5)
    assert low == pytest.approx(-high)


@pytest.mark.parametrize("gain", [0.0, 0.1])
def test_the_interval_of_a_difference_holds_the_truth(gain):
    generator, held = np.random.default_rng(11), 0
    for _ in range(300):
        drawn = generator.random(40)
        first, second = drawn < 0.1 + gain, (drawn < 0.05) | (drawn > 0.95)
        low, high = paired_interval(first, second, np.ones(40, dtype=bool))
        held += low <= gain <= high
    assert held >= 272


def test_a_difference_is_measured_on_the_same_items():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 2000)
    scores = np.clip(labels * 0.4 + generator.random(2000) * 0.6, 0, 1)
    given = scored(labels, scores)
    near = scored(labels, np.clip(scores - 0.01 * generator.random(2000), 0, 1))
    ours, theirs = measured(given), measured(near)
    for name in ("accuracy", "auroc"):
        low, high = difference_ci95(ours[name], theirs[name])
        assert high - low < (ours[name].ci95[1] - ours[name].ci95[0]) / 2
    assert auroc(given.scores, labels) == ours["auroc"].value

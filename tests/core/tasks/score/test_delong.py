"""DeLong's variance and test against their definition."""

import math

import numpy as np
import pytest

from moekit.evaluation import wilson_interval
from moekit.tasks.score.delong import delong_ci, delong_test
from moekit.tasks.score.metrics import auroc


def _by_definition(first, second, labels):
    """Variance of the difference of two AUROCs, from the pairwise kernel itself."""

    def components(scores):
        positive, negative = scores[labels == 1], scores[labels == 0]
        psi = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
        return psi.mean(), psi.mean(1), psi.mean(0)

    (area_a, pos_a, neg_a), (area_b, pos_b, neg_b) = components(first), components(second)
    variance = np.var(pos_a - pos_b, ddof=1) / len(pos_a) + np.var(neg_a - neg_b, ddof=1) / len(
        neg_a
    )
    return area_a - area_b, variance


@pytest.fixture(params=[1, 3])
def pair(request):
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 120)
    first = (labels + generator.normal(size=120)).round(request.param)
    second = (labels + generator.normal(size=120) * 1.4).round(request.param)
    return first, second, labels


def test_the_paired_test_follows_the_definition(pair):
    difference, variance = _by_definition(*pair)
    test = delong_test(*pair)
    assert test.difference == pytest.approx(difference)
    assert test.p == pytest.approx(math.erfc(abs(difference) / math.sqrt(2 * variance)))
    assert test.ci95[1] - test.ci95[0] == pytest.approx(2 * 1.959964 * math.sqrt(variance))


def test_a_hand_computed_interval():
    # Positives 3 and 1, negatives 2 and 0: psi = [[1, 1], [0, 1]], area 3/4,
    # variance (1/2)(1/8) + (1/2)(1/8) = 1/8.
    low, high = delong_ci(np.array([3.0, 1.0, 2.0, 0.0]), np.array([1, 1, 0, 0]))
    assert low == pytest.approx(0.75 - 1.959964 * math.sqrt(1 / 8))
    assert high == 1.0


def test_scores_that_rank_alike_do_not_differ():
    labels = np.array([0, 1, 0, 1, 1])
    scores = np.array([0.1, 0.4, 0.2, 0.8, 0.15])
    assert delong_test(scores, scores * 2, labels).p == 1.0


def test_the_test_is_antisymmetric(pair):
    first, second, labels = pair
    forth, back = delong_test(first, second, labels), delong_test(second, first, labels)
    assert forth.difference == pytest.approx(-back.difference)
    assert forth.p == pytest.approx(back.p)


def test_one_class_has_no_interval():
    assert all(math.isnan(bound) for bound in delong_ci(np.array([0.1, 0.2]), np.array([1, 1])))


def test_proc_publishes_the_same_variance_for_its_example():
    # WFNS grade and outcome of 113 patients (Turck et al. 2010); the area and the variance are
    # those in the test suite of pROC (Robin et al. 2011, BMC Bioinformatics 12:77).
    good, poor = [37, 20, 3, 8, 4], [2, 12, 1, 8, 18]
    scores = np.repeat([1.0, 2, 3, 4, 5] * 2, good + poor)
    labels = np.repeat([0, 1], [sum(good), sum(poor)])
    half = 1.959963984540054 * math.sqrt(0.00146991470882363)
    assert delong_ci(scores, labels) == pytest.approx(
        (0.823678861788618 - half, 0.823678861788618 + half), rel=1e-12
    )


@pytest.mark.parametrize("labels", [[1, 0, 0, 0], [0, 1, 1, 1]])
def test_one_image_of_a_class_has_no_interval(labels):
    scores, labels = np.array([0.9, 0.1, 0.2, 0.95]), np.array(labels)
    assert all(math.isnan(bound) for bound in delong_ci(scores, labels))
    assert math.isnan(delong_test(scores, scores[::-1], labels).p)


def test_what_nothing_varies_has_the_width_of_a_share_of_the_rarer_class():
    scores, labels = np.array([0.1, 0.2, 0.8, 0.9]), np.array([0, 0, 1, 1])
    test = delong_test(scores, -scores, labels)
    low, high = wilson_interval(2, 2)
    assert (test.difference, test.p, test.ci95) == (1.0, 0.0, pytest.approx((low, high)))
    assert delong_ci(scores, labels) == pytest.approx((low, high))
    same = delong_test(scores, scores, labels)
    assert (same.difference, same.p, same.ci95) == (0.0, 1.0, pytest.approx((low - 1, 1 - low)))
    assert all(math.isnan(bound) for bound in delong_ci(np.full(4, 0.5), labels))


def test_repeating_images_within_their_groups_adds_no_certainty(pair):
    once = delong_test(*pair)
    tenfold = [np.repeat(values, 10) for values in pair]
    groups = tuple(str(row) for row in np.repeat(np.arange(120), 10))
    again = delong_test(*tenfold, groups)
    assert again.p == pytest.approx(once.p)
    assert again.ci95 == pytest.approx(once.ci95)
    assert delong_test(*tenfold).p < once.p / 2


def test_images_without_a_group_stand_alone(pair):
    assert delong_test(*pair, ("",) * 120) == delong_test(*pair)


def test_groups_that_mix_classes_vary_as_resampled_groups_do():
    generator = np.random.default_rng(3)
    group_of = np.repeat(np.arange(80), 6)
    labels = generator.integers(0, 2, 480)
    scores = labels + generator.normal(size=480) + 1.5 * generator.normal(size=80)[group_of]
    low, high = delong_ci(scores, labels, tuple(map(str, group_of)))
    areas = []
    for _ in range(600):
        drawn = generator.integers(80, size=80)
        rows = (drawn[:, None] * 6 + np.arange(6)).ravel()
        areas.append(auroc(scores[rows], labels[rows]))
    assert (high - low) / 2 / 1.96 == pytest.approx(np.std(areas), rel=0.12)

"""DeLong's variance and test against their definition."""

import math

import numpy as np
import pytest

from moekit.evaluation.delong import delong_ci, delong_test


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

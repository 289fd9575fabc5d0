"""What quantisation may cost."""

import numpy as np
import pytest

from moekit.tasks.score.accuracy import check_accuracy
from moekit.tasks.score.metrics import auroc
from moekit.tasks.score.predictions import Predictions
from moekit.testing import refused

LABELS = np.array([0] * 50 + [1] * 50)
SCORES = np.linspace(0.01, 0.99, 100)


def of(scores, labels=LABELS):
    ids = tuple(map(str, range(len(labels))))
    return Predictions(ids=ids, labels=labels, scores=np.asarray(scores))


def check(fp32, int8, limit=None):
    return check_accuracy(fp32, int8, limit=limit, split="val", whose="an export")


def swapped(first, second):
    scores = SCORES.copy()
    scores[[first, second]] = scores[[second, first]]
    return scores


def test_the_loss_is_the_difference_of_aurocs_with_its_interval():
    int8 = swapped(45, 52)
    accuracy = check(of(SCORES), of(int8))
    assert accuracy.measure == "auroc"
    assert accuracy.loss == pytest.approx(1 - auroc(int8, LABELS))
    assert 0 < accuracy.loss <= accuracy.limit == 0.008
    assert accuracy.ci95[0] < accuracy.loss < accuracy.ci95[1]
    assert accuracy.greatest_drift == pytest.approx(abs(SCORES[45] - SCORES[52]))


def test_a_greater_loss_is_refused_unless_it_is_allowed():
    int8 = of(swapped(10, 90))
    with refused("error/int8-loss", match=r"0\.0320.*100"):
        check(of(SCORES), int8)
    assert check(of(SCORES), int8, limit=0.04).limit == 0.04


def test_with_negatives_alone_ranks_are_compared():
    labels = np.zeros(100, dtype=np.int64)
    accuracy = check(of(SCORES, labels), of(swapped(40, 50), labels))
    assert accuracy.measure == "rank correlation"
    assert accuracy.ci95 is None
    # Spearman's: 1 - 6 sum(d^2) / (n (n^2 - 1))
    assert accuracy.loss == pytest.approx(6 * 2 * 10**2 / (100 * (100**2 - 1)))
    with refused("error/int8-loss"):
        check(of(SCORES, labels), of(SCORES[::-1], labels))
    with refused("error/int8-loss"):
        check(of(SCORES, labels), of(np.full(100, 0.5), labels))


def test_a_score_that_is_no_number_is_refused():
    int8 = SCORES.copy()
    int8[3] = np.nan
    with refused("error/bad-scores"):
        check(of(SCORES), of(int8), limit=1.0)

"""Escape and overkill."""

import math

import numpy as np
import pytest

from moekit_industrial.metrics import escape_rate, overkill_rate

SCORES = np.array([0.9, 0.4, 0.5, 0.1, 0.8])
LABELS = np.array([1, 1, 1, 0, 0])


def test_rates_are_shares_of_their_own_class():
    assert escape_rate(SCORES, LABELS, 0.5) == pytest.approx(1 / 3)
    assert overkill_rate(SCORES, LABELS, 0.5) == pytest.approx(1 / 2)


def test_a_missing_class_leaves_its_rate_undefined():
    assert math.isnan(escape_rate(SCORES, np.zeros(5), 0.5))
    assert math.isnan(overkill_rate(SCORES, np.ones(5), 0.5))


def test_a_higher_threshold_lets_more_escape_and_rejects_fewer():
    escapes = [escape_rate(SCORES, LABELS, threshold) for threshold in (0.2, 0.45, 0.95)]
    overkills = [overkill_rate(SCORES, LABELS, threshold) for threshold in (0.05, 0.45, 0.95)]
    assert escapes == sorted(escapes)
    assert overkills == sorted(overkills, reverse=True)

"""Intervals and tests from values on resamples."""

import math

import numpy as np
import pytest

from moekit.evaluation import (
    interval_entries,
    paired_bootstrap,
    resampled_difference,
    resampled_interval,
    unvaried,
)

DRAWN = np.linspace(0.2, 0.6, 1001)


def test_a_figure_that_varies_has_its_middle_95_percent():
    assert resampled_interval(DRAWN, 9) == pytest.approx((0.21, 0.59))
    assert resampled_difference(DRAWN, 0.4, 9) == pytest.approx((0.21, 0.59))


def test_where_nothing_varied_the_number_of_units_gives_the_width():
    same = np.ones(100)
    assert resampled_interval(same, 9) == unvaried(1.0, (0.0, 1.0), 9)
    low, high = resampled_difference(0 * same, 0.0, 9)
    assert (low, high) == pytest.approx((resampled_interval(same, 9)[0] - 1, -low))
    assert resampled_difference(0 * same, 0.0, 0) is None


def test_entries_are_none_where_a_figure_is_undefined():
    drawn = np.stack([DRAWN, np.full_like(DRAWN, np.nan)], axis=1)
    first, second = interval_entries(np.array([0.4, np.nan]), drawn, "value", 9)
    assert first == {"value": 0.4, "ci95": pytest.approx([0.21, 0.59])}
    assert second == {"value": None, "ci95": None}
    assert interval_entries(np.array([0.4]), None, "value", 9) == [{"value": 0.4, "ci95": None}]


def test_p_is_twice_the_smaller_side_of_zero():
    drawn = np.r_[np.full(10, -0.1), np.full(989, 0.2), math.nan]
    found = paired_bootstrap("miou", 0.19, drawn, 9)
    assert (found["metric"], found["difference"]) == ("miou", 0.19)
    assert found["p"] == pytest.approx(2 * 11 / 1000)
    assert paired_bootstrap("miou", math.nan, drawn, 9) is None

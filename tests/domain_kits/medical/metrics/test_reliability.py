"""The reliability curve and Wilson's interval."""

import math

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from moekit_medical.metrics.reliability import reliability_curve, wilson_interval


def test_points_are_those_of_scikit_learn():
    generator = np.random.default_rng(0)
    scores = generator.random(200)
    labels = (generator.random(200) < scores).astype(int)
    frequencies, means = calibration_curve(labels, scores, n_bins=10)
    points = reliability_curve(scores, labels, bins=10)
    assert [point.frequency for point in points] == pytest.approx(frequencies)
    assert [point.mean_score for point in points] == pytest.approx(means)
    assert sum(point.count for point in points) == 200


def test_an_edge_belongs_to_the_bin_above_and_one_to_the_last_bin():
    points = reliability_curve(np.array([0.0, 0.5, 1.0]), np.array([0, 1, 1]), bins=2)
    assert [(point.lower, point.upper, point.count) for point in points] == [
        (0.0, 0.5, 1),
        (0.5, 1.0, 2),
    ]


def test_empty_bins_have_no_point():
    points = reliability_curve(np.array([0.05, 0.95]), np.array([0, 1]), bins=10)
    assert [point.lower for point in points] == pytest.approx([0.0, 0.9])
    assert reliability_curve(np.empty(0), np.empty(0, dtype=int)) == ()


def test_every_frequency_lies_in_its_interval():
    generator = np.random.default_rng(1)
    scores, labels = generator.random(500), generator.integers(0, 2, 500)
    for point in reliability_curve(scores, labels):
        low, high = point.ci95
        assert 0 <= low <= point.frequency <= high <= 1


def test_wilson_intervals_are_the_published_ones():
    # Newcombe 1998, Statistics in Medicine 17:857-872, table I, method 3.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson_interval(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


def test_no_trials_have_no_interval():
    assert all(math.isnan(end) for end in wilson_interval(0, 0))

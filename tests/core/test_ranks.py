"""Quantiles and correlations of ranks agree with those of NumPy and SciPy."""

import math
import subprocess
import sys

import numpy as np
import pytest

from moekit.ranks import quantile, rank_correlation


@pytest.mark.parametrize("count", [1, 2, 3, 10, 101])
def test_quantiles_are_those_of_numpy(count):
    values = sorted(np.random.default_rng(count).normal(size=count).tolist())
    for share in (0.0, 0.05, 0.5, 0.95, 0.99, 1.0):
        assert quantile(values, share) == pytest.approx(np.quantile(values, share), abs=1e-12)


def test_nothing_has_no_quantile():
    assert quantile([], 0.5) is None


def test_equal_numbers_have_their_mean_rank_wherever_they_stand():
    first = np.array([0.0, 0.0, 0.0, 1.0, 2.0])
    second = np.array([5.0, 1.0, 3.0, 7.0, 9.0])
    order = np.array([2, 0, 4, 1, 3])
    value = rank_correlation(first, second)
    assert value == pytest.approx(rank_correlation(first[order], second[order]))
    ranks = np.array([2.0, 2.0, 2.0, 4.0, 5.0]), np.array([3.0, 1.0, 2.0, 4.0, 5.0])
    assert value == pytest.approx(np.corrcoef(*ranks)[0, 1])


def test_a_constant_list_correlates_with_nothing():
    assert math.isnan(rank_correlation(np.ones(4), np.arange(4.0)))
    assert math.isnan(rank_correlation(np.ones(1), np.ones(1)))


def test_a_program_that_only_asks_a_server_does_not_wait_for_numpy():
    code = "import sys, moekit.serve.load; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

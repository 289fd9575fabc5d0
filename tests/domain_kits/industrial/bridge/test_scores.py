"""Scores come between 0 and 1 without losing their order."""

import numpy as np
import pytest
from scipy.stats import rankdata

from moekit_industrial.bridge.scores import UnitMap


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_no_two_scores_become_one_and_none_is_clamped(scale):
    generator = np.random.default_rng(0)
    raw = scale * np.concatenate([generator.normal(size=500), generator.standard_cauchy(500) * 100])
    mapped = UnitMap.of(raw[:500])(raw)
    assert (rankdata(mapped) == rankdata(raw)).all()
    assert len(np.unique(mapped)) == len(raw)
    assert 0 < mapped.min() < mapped.max() < 1


def test_the_median_of_good_parts_is_one_half_and_the_inverse_is_one():
    raw = np.array([3.0, 5.0, 9.0, 11.0, 40.0])
    unit = UnitMap.of(raw)
    assert unit(np.array(9.0)) == 0.5
    assert [unit.inverse(float(value)) for value in unit(raw)] == pytest.approx(list(raw))


@pytest.mark.parametrize("value", [0.0, -2.0, 1e300])
def test_scores_that_are_all_the_same_become_one_half(value):
    assert UnitMap.of(np.full(9, value))(np.array(value)) == 0.5

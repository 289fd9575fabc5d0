"""Each check of map metrics passes a good one and fails one that is broken in just that way."""

import dataclasses

import numpy as np
import pytest

from moekit import MapMetricExample, MapMetricSpec
from moekit.testing import ConformanceError, suite  # noqa: F401 - fills the list
from moekit.testing.check import CHECKS

NAN = float("nan")


def good(counts):
    """The greatest gap between the shares of positive and of negative pixels."""
    if not counts.weights_N.sum() or not counts.positives_T[0] or not counts.negatives_T[0]:
        return NAN
    found = counts.positives_T / counts.positives_T[0]
    return float((found - counts.negatives_T / counts.negatives_T[0]).max())


def first_image_counts_double(counts):
    weights = np.where(np.arange(len(counts.weights_N)) == 0, 2.0, 1.0) * counts.weights_N
    return good(dataclasses.replace(counts, weights_N=weights))


def ignores_weights(counts):
    return good(dataclasses.replace(counts, weights_N=np.ones(len(counts.weights_N))))


def mean_size(counts):
    return float(counts.sizes_R.mean()) / 1e3


def needs_both_classes(counts):
    if not len(counts.weights_N):
        return NAN
    return float((counts.positives_T / counts.positives_T[0]).max())


EXAMPLE = MapMetricExample(
    maps=(((0.9, 0.2), (0.1, 0.3)),), masks=(((1, 0), (0, 1)),), value=1.0, source="by hand"
)
GOOD = MapMetricSpec(
    name="specimen",
    compute=good,
    higher_is_better=True,
    bounds=(0.0, 1.0),
    summary="the greatest gap",
    source="the tests",
    examples=(EXAMPLE,),
)
BROKEN = {
    "is-described": {"source": ""},
    "gives-the-known-answers": {"examples": (dataclasses.replace(EXAMPLE, value=0.9),)},
    "stays-in-its-bounds": {"compute": lambda counts: 1.5},
    "ignores-the-order": {"compute": first_image_counts_double},
    "minds-the-weights": {"compute": ignores_weights},
    "is-defined-without-a-class": {"compute": needs_both_classes},
    "is-defined-for-nothing": {"compute": mean_size},
    "gives-a-plain-number": {"compute": lambda counts: np.float64(0.5)},
    "knows-its-direction": {"higher_is_better": False},
}


@pytest.mark.parametrize("name", CHECKS["map-metric"])
def test_a_good_metric_passes(name, run_check):
    run_check("map-metric", name, GOOD)


@pytest.mark.parametrize("name", CHECKS["map-metric"])
def test_a_broken_metric_fails_the_check_that_it_breaks(name, run_check):
    with pytest.raises(ConformanceError):
        run_check("map-metric", name, dataclasses.replace(GOOD, **BROKEN[name]))


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("gives-the-known-answers", {"examples": ()}),
        ("ignores-the-order", {"compute": lambda counts: counts.negatives_NT.sort()}),
        ("minds-the-weights", {"compute": lambda counts: float(counts.weights_N.sum()) / 100}),
    ],
)
def test_other_ways_of_being_broken(name, changes, run_check):
    with pytest.raises(ConformanceError):
        run_check("map-metric", name, dataclasses.replace(GOOD, **changes))

"""Each check of metrics passes a good one and fails one that is broken in just that way."""

import dataclasses

import numpy as np
import pytest

from moekit import MetricExample, MetricSpec
from moekit.testing import ConformanceError, suite  # noqa: F401 - fills the list
from moekit.testing.check import CHECKS


def good(scores, labels, threshold):
    return float(((scores >= threshold) == labels).mean()) if len(scores) else float("nan")


def second_half_counts_double(scores, labels, threshold):
    weights = np.where(np.arange(len(scores)) < len(scores) / 2, 1.0, 2.0)
    right = (scores >= threshold) == labels
    return float((weights * right).sum() / weights.sum()) if len(scores) else float("nan")


def needs_both_classes(scores, labels, threshold):
    if len(scores) and labels.min() == labels.max():
        raise ZeroDivisionError
    return good(scores, labels, threshold)


CALLS = []


def counts_its_calls(scores, labels, threshold):
    CALLS.append(1)
    return len(CALLS) / 1e6


EXAMPLE = MetricExample(
    scores=(0.2, 0.9), labels=(0, 1), threshold=0.5, value=1.0, source="by hand"
)
GOOD = MetricSpec(
    name="specimen",
    compute=good,
    higher_is_better=True,
    bounds=(0.0, 1.0),
    summary="share of right decisions",
    source="the tests",
    examples=(EXAMPLE,),
)
BROKEN = {
    "is-described": {"source": ""},
    "gives-the-known-answers": {"examples": (dataclasses.replace(EXAMPLE, value=0.9),)},
    "stays-in-its-bounds": {"compute": lambda s, y, t: 1.5},
    "ignores-the-order": {"compute": second_half_counts_double},
    "merges-shards": {"compute": second_half_counts_double},
    "is-defined-for-one-class": {"compute": needs_both_classes},
    "is-defined-for-nothing": {"compute": lambda s, y, t: float((s >= t).mean())},
    "gives-a-plain-number": {"compute": lambda s, y, t: np.float64(0.5)},
    "knows-its-direction": {"higher_is_better": False},
}


@pytest.mark.parametrize("name", CHECKS["metric"])
def test_a_good_metric_passes(name, run_check):
    run_check("metric", name, GOOD)


@pytest.mark.parametrize("name", CHECKS["metric"])
def test_a_broken_metric_fails_the_check_that_it_breaks(name, run_check):
    with pytest.raises(ConformanceError):
        run_check("metric", name, dataclasses.replace(GOOD, **BROKEN[name]))


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("gives-the-known-answers", {"examples": ()}),
        ("gives-a-plain-number", {"compute": counts_its_calls}),
        ("stays-in-its-bounds", {"compute": lambda s, y, t: float("nan")}),
        ("ignores-the-order", {"compute": lambda s, y, t: s.sort()}),
    ],
)
def test_other_ways_of_being_broken(name, changes, run_check):
    with pytest.raises(ConformanceError):
        run_check("metric", name, dataclasses.replace(GOOD, **changes))

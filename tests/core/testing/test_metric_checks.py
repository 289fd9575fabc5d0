"""Each check of metrics passes a good one and fails one that is broken in just that way."""

import dataclasses

import numpy as np
import pytest

from moekit import MetricExample, MetricSpec
from moekit.testing import ConformanceError, NotApplicable, suite  # noqa: F401 - fills the list
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


def share_right(truth, said, tolerance):
    return float((abs(truth - said) <= tolerance).mean()) if len(truth) else float("nan")


def weighs_the_later(truth, said, tolerance):
    weights = np.arange(len(truth)) + 1.0
    return float((weights * abs(truth - said)).sum() / weights.sum())


def needs_two_values(truth, said, tolerance):
    if len(truth) and truth.min() == truth.max():
        raise ZeroDivisionError
    return share_right(truth, said, tolerance)


GIVEN = {"truth": (1.0, 2.0, 5.0, 7.0), "said": (1.0, 4.0, 5.0, 7.2), "tolerance": 0.5}
OF_ANOTHER_TASK = dataclasses.replace(
    GOOD,
    compute=share_right,
    task="count",
    needs=("truth", "said", "tolerance"),
    examples=(MetricExample(given=GIVEN, value=0.75, source="by hand"),),
)
BROKEN_OF_ANOTHER_TASK = [
    ("gives-the-known-answers", {"examples": ()}),
    ("gives-the-known-answers", {"needs": ("truth", "said", "margin")}),
    ("gives-the-known-answers", {"compute": lambda t, s, tolerance: 0.5}),
    ("stays-in-its-bounds", {"bounds": (0.9, 1.0)}),
    ("ignores-the-order", {"compute": weighs_the_later}),
    ("merges-shards", {"compute": weighs_the_later}),
    ("is-defined-for-one-class", {"compute": needs_two_values}),
    ("is-defined-for-nothing", {"compute": lambda t, s, tolerance: float((t == s).mean())}),
    ("gives-a-plain-number", {"compute": lambda t, s, tolerance: np.float64(0.5)}),
    (
        "ignores-the-order",
        {"examples": (MetricExample(given={**GIVEN, "said": (1.0,)}, value=0.5, source="-"),)},
    ),
]


@pytest.mark.parametrize("name", CHECKS["metric"])
def test_a_good_metric_of_another_task_passes(name, run_check):
    if name == "knows-its-direction":
        with pytest.raises(NotApplicable):
            run_check("metric", name, OF_ANOTHER_TASK)
    else:
        run_check("metric", name, OF_ANOTHER_TASK)


@pytest.mark.parametrize(("name", "changes"), BROKEN_OF_ANOTHER_TASK)
def test_a_broken_metric_of_another_task_fails(name, changes, run_check):
    with pytest.raises(ConformanceError):
        run_check("metric", name, dataclasses.replace(OF_ANOTHER_TASK, **changes))

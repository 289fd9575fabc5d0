"""Checks of metrics."""

from __future__ import annotations

import math
import re
import warnings
from typing import Any

import numpy as np

from moekit.contract.metrics import MetricExample, MetricSpec
from moekit.testing.check import check
from moekit.testing.subject import Subject
from moekit.testing.verdicts import NotApplicable, require

_DRAWS, _SIZE, _THRESHOLD = 20, 60, 0.5
_TOLERANCE = 1e-9
_OF_SCORES = ("scores", "labels", "threshold")
_CONSTANT = re.compile(r"_(?!N)[A-Z][A-Z0-9]*$")
"""Ends the name of an array with no row for each item, such as `thresholds_C`."""
Given = dict[str, Any]
"""What a metric is called with, by name."""


def _spec(subject: Subject, name: str) -> MetricSpec:
    spec: MetricSpec = subject.record("metrics", name)
    return spec


def _is_of_scores(spec: MetricSpec) -> bool:
    return spec.needs == _OF_SCORES


def _draw(spec: MetricSpec, seed: int) -> Given:
    """An input that nobody may write to; ties are in it.

    Metrics of scores get normally distributed ones, others draw the rows of an example.
    """
    generator = np.random.default_rng(seed)
    if _is_of_scores(spec):
        labels = generator.permutation(np.arange(_SIZE) % 3 == 0).astype(np.int64)
        scores = np.round(np.clip(generator.normal(0.35 + 0.3 * labels, 0.2), 0, 1), 2)
        return _frozen(dict(zip(_OF_SCORES, (scores, labels, _THRESHOLD), strict=True)))
    require(bool(spec.examples), "it has no example")
    given = _given(spec, spec.examples[seed % len(spec.examples)])
    count = _count(given)
    return _taken(given, generator.integers(0, count, count))


def _given(spec: MetricSpec, example: MetricExample) -> Given:
    """The input of an example, in the order of the metric's needs."""
    if not example.given and _is_of_scores(spec):
        scores = np.asarray(example.scores, dtype=np.float64)
        known = (scores, np.asarray(example.labels), example.threshold)
        return _frozen(dict(zip(_OF_SCORES, known, strict=True)))
    missing = sorted(set(spec.needs) - set(example.given))
    require(not missing, f"an example does not give {', '.join(missing)}")
    values = {name: example.given[name] for name in spec.needs}
    return _frozen(
        {
            name: np.asarray(one) if isinstance(one, tuple | list) else one
            for name, one in values.items()
        }
    )


def _frozen(given: Given) -> Given:
    for one in given.values():
        if isinstance(one, np.ndarray):
            one.flags.writeable = False
    return given


def _count(given: Given) -> int:
    """How many items there are."""
    counts = {len(one) for name, one in given.items() if _has_rows(name, one)}
    require(len(counts) == 1, f"the arrays of an example have {sorted(counts)} rows")
    return int(counts.pop())


def _has_rows(name: str, value: Any) -> bool:
    return isinstance(value, np.ndarray) and not _CONSTANT.search(name)


def _taken(given: Given, rows: np.ndarray) -> Given:
    return _frozen(
        {name: one[rows] if _has_rows(name, one) else one for name, one in given.items()}
    )


def _value(spec: MetricSpec, given: Given) -> float:
    return spec.compute(*(given[name] for name in spec.needs))


def _same(first: float, second: float) -> bool:
    return math.isclose(first, second, rel_tol=0, abs_tol=_TOLERANCE) or (
        math.isnan(first) and math.isnan(second)
    )


@check("metric")
def is_described(subject: Subject, name: str) -> None:
    """It has a summary and a source, and bounds in their order."""
    spec = _spec(subject, name)
    require(bool(spec.summary.strip() and spec.source.strip()), "summary or source is empty")
    require(spec.bounds[0] < spec.bounds[1], f"its bounds are {spec.bounds}")


@check("metric")
def gives_the_known_answers(subject: Subject, name: str) -> None:
    """It agrees with known answers; a share that it counts is the one that it computes."""
    spec = _spec(subject, name)
    require(bool(spec.examples), "it has no example")
    for example in spec.examples:
        found = _value(spec, _given(spec, example))
        require(_same(found, example.value), f"{found!r} instead of {example.value!r}")
        _check_share(spec, _given(spec, example), found)
        require(bool(example.source.strip()), "an example does not say who knows the answer")


def _check_share(spec: MetricSpec, given: Given, value: float) -> None:
    """A share that a metric counts is the one that it computes."""
    if spec.share is None:
        return
    hits, there = (np.asarray(one) for one in spec.share(*(given[name] for name in spec.needs)))
    shape = (_count(given),)
    require(hits.shape == there.shape == shape, f"its share is counted in arrays not {shape}")
    total = float(there.sum())
    counted = float(hits.sum()) / total if total else math.nan
    require(_same(counted, value), f"it counts a share of {counted!r} and computes {value!r}")


@check("metric")
def stays_in_its_bounds(subject: Subject, name: str) -> None:
    """Whatever the input and the threshold, the value lies in the declared bounds."""
    spec = _spec(subject, name)
    thresholds = (0.0, 0.25, _THRESHOLD, 0.75, 1.0) if _is_of_scores(spec) else ()
    for seed in range(_DRAWS):
        given = _draw(spec, seed)
        if not thresholds:
            _require_inside(spec, _value(spec, given))
        for threshold in thresholds:
            value = _value(spec, {**given, "threshold": threshold})
            inside = spec.bounds[0] <= value <= spec.bounds[1]
            require(inside, f"{value} is outside {spec.bounds} at the threshold {threshold}")


@check("metric")
def ignores_the_order(subject: Subject, name: str) -> None:
    """Samples in another order give the same value."""
    spec = _spec(subject, name)
    for seed in range(_DRAWS):
        given = _draw(spec, seed)
        order = np.random.default_rng(seed + 1).permutation(_count(given))
        plain, moved = _value(spec, given), _value(spec, _taken(given, order))
        require(_same(plain, moved), f"{plain!r} became {moved!r}")


@check("metric")
def merges_shards(subject: Subject, name: str) -> None:
    """Shards of several processes, put together in any order, give the value of the whole."""
    spec = _spec(subject, name)
    given = _draw(spec, 0)
    whole, numbers = _value(spec, given), np.arange(_count(given))
    for processes in (2, 3, 7):
        rows = np.concatenate([numbers[rank::processes] for rank in range(processes)])
        merged = _value(spec, _taken(given, rows))
        require(_same(whole, merged), f"{processes} shards give {merged!r} instead of {whole!r}")


@check("metric")
def is_defined_for_one_class(subject: Subject, name: str) -> None:
    """One class only, or one item over and over, gives nan or a value in bounds, quietly."""
    spec = _spec(subject, name)
    given = _draw(spec, 0)
    if _is_of_scores(spec):
        for label in (0, 1):
            _check_edge(spec, {**given, "labels": np.full(_SIZE, label, dtype=np.int64)})
        return
    count = _count(given)
    for row in range(count):
        _check_edge(spec, _taken(given, np.full(count, row)))


@check("metric")
def is_defined_for_nothing(subject: Subject, name: str) -> None:
    """No sample at all gives nan or a value in bounds, without a warning."""
    spec = _spec(subject, name)
    _check_edge(spec, _taken(_draw(spec, 0), np.zeros(0, dtype=np.int64)))


def _check_edge(spec: MetricSpec, given: Given) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value = _value(spec, given)
    _require_inside(spec, value)


def _require_inside(spec: MetricSpec, value: float) -> None:
    low, high = spec.bounds
    require(math.isnan(value) or low <= value <= high, f"{value} is outside {spec.bounds}")


@check("metric")
def gives_a_plain_number(subject: Subject, name: str) -> None:
    """The value is a float of Python, the same each time."""
    spec = _spec(subject, name)
    first, second = (_value(spec, _draw(spec, 0)) for _ in range(2))
    require(type(first) is float, f"it is a {type(first).__name__}; wrap it in float()")
    require(_same(first, second), "two calls differ")


@check("metric")
def knows_its_direction(subject: Subject, name: str) -> None:
    """Right scores are no worse than reversed ones, by the declared direction."""
    spec = _spec(subject, name)
    if not _is_of_scores(spec):
        raise NotApplicable("which answers are right is known of scores only")
    labels = _draw(spec, 0)["labels"]
    right, wrong = (
        spec.compute(0.1 + 0.8 * labels, labels, _THRESHOLD),
        spec.compute(0.9 - 0.8 * labels, labels, _THRESHOLD),
    )
    better = right >= wrong if spec.higher_is_better else right <= wrong
    require(better, f"right scores give {right}, reversed ones {wrong}")

"""Checks of metrics."""

from __future__ import annotations

import math
import warnings

import numpy as np

from moekit.contract.metrics import MetricSpec
from moekit.testing.check import check
from moekit.testing.subject import Subject
from moekit.testing.verdicts import require

_DRAWS, _SIZE, _THRESHOLD = 20, 60, 0.5
_TOLERANCE = 1e-9
Drawn = tuple[np.ndarray, np.ndarray]


def _spec(subject: Subject, name: str) -> MetricSpec:
    spec: MetricSpec = subject.record("metrics", name)
    return spec


def _draw(seed: int) -> Drawn:
    """Scores and labels that nobody may write to; ties are among the scores."""
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.arange(_SIZE) % 3 == 0).astype(np.int64)
    scores = np.round(np.clip(generator.normal(0.35 + 0.3 * labels, 0.2), 0, 1), 2)
    for array in (scores, labels):
        array.flags.writeable = False
    return scores, labels


def _value(spec: MetricSpec, scores: np.ndarray, labels: np.ndarray) -> float:
    return spec.compute(scores, labels, _THRESHOLD)


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
    """It agrees with examples whose answer is known from elsewhere."""
    spec = _spec(subject, name)
    require(bool(spec.examples), "it has no example")
    for example in spec.examples:
        scores = np.asarray(example.scores, dtype=np.float64)
        found = spec.compute(scores, np.asarray(example.labels), example.threshold)
        require(_same(found, example.value), f"{found!r} instead of {example.value!r}")
        require(bool(example.source.strip()), "an example does not say who knows the answer")


@check("metric")
def stays_in_its_bounds(subject: Subject, name: str) -> None:
    """Whatever the scores and the threshold, the value lies in the declared bounds."""
    spec = _spec(subject, name)
    for seed in range(_DRAWS):
        scores, labels = _draw(seed)
        for threshold in (0.0, 0.25, _THRESHOLD, 0.75, 1.0):
            value = spec.compute(scores, labels, threshold)
            inside = spec.bounds[0] <= value <= spec.bounds[1]
            require(inside, f"{value} is outside {spec.bounds} at the threshold {threshold}")


@check("metric")
def ignores_the_order(subject: Subject, name: str) -> None:
    """Samples in another order give the same value."""
    spec = _spec(subject, name)
    for seed in range(_DRAWS):
        scores, labels = _draw(seed)
        order = np.random.default_rng(seed + 1).permutation(_SIZE)
        plain, moved = _value(spec, scores, labels), _value(spec, scores[order], labels[order])
        require(_same(plain, moved), f"{plain!r} became {moved!r}")


@check("metric")
def merges_shards(subject: Subject, name: str) -> None:
    """Shards of several processes, put together in any order, give the value of the whole."""
    spec = _spec(subject, name)
    scores, labels = _draw(0)
    whole = _value(spec, scores, labels)
    for processes in (2, 3, 7):
        rows = np.concatenate([np.arange(_SIZE)[rank::processes] for rank in range(processes)])
        merged = _value(spec, scores[rows], labels[rows])
        require(_same(whole, merged), f"{processes} shards give {merged!r} instead of {whole!r}")


@check("metric")
def is_defined_for_one_class(subject: Subject, name: str) -> None:
    """One class alone gives nan or a value in bounds, without a warning."""
    spec = _spec(subject, name)
    scores, _ = _draw(0)
    for label in (0, 1):
        _check_edge(spec, scores, np.full(_SIZE, label, dtype=np.int64))


@check("metric")
def is_defined_for_nothing(subject: Subject, name: str) -> None:
    """No sample at all gives nan or a value in bounds, without a warning."""
    _check_edge(_spec(subject, name), np.zeros(0), np.zeros(0, dtype=np.int64))


def _check_edge(spec: MetricSpec, scores: np.ndarray, labels: np.ndarray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value = _value(spec, scores, labels)
    low, high = spec.bounds
    require(math.isnan(value) or low <= value <= high, f"{value} is outside {spec.bounds}")


@check("metric")
def gives_a_plain_number(subject: Subject, name: str) -> None:
    """The value is a float of Python, the same each time."""
    spec = _spec(subject, name)
    first, second = (_value(spec, *_draw(0)) for _ in range(2))
    require(type(first) is float, f"it is a {type(first).__name__}; wrap it in float()")
    require(_same(first, second), "two calls differ")


@check("metric")
def knows_its_direction(subject: Subject, name: str) -> None:
    """Right scores are no worse than reversed ones, by the declared direction."""
    spec = _spec(subject, name)
    _, labels = _draw(0)
    right, wrong = (
        _value(spec, 0.1 + 0.8 * labels, labels),
        _value(spec, 0.9 - 0.8 * labels, labels),
    )
    better = right >= wrong if spec.higher_is_better else right <= wrong
    require(better, f"right scores give {right}, reversed ones {wrong}")

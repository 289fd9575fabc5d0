"""Checks of map metrics.

Shapes: N images, R positive regions, T thresholds.
"""

from __future__ import annotations

import dataclasses
import math
import warnings

import numpy as np

from moekit.contract.map_counts import MapCounts
from moekit.contract.metrics import MapMetricExample, MapMetricSpec
from moekit.tasks.score.localisation import count_maps
from moekit.tasks.score.masks import RegionMask
from moekit.testing.check import check
from moekit.testing.subject import Subject
from moekit.testing.verdicts import require

_DRAWS, _IMAGES, _SIDE = 10, 12, 16
_TOLERANCE = 1e-9


def _spec(subject: Subject, name: str) -> MapMetricSpec:
    spec: MapMetricSpec = subject.record("map_metrics", name)
    return spec


def _masks(seed: int) -> list[np.ndarray]:
    """Masks with up to two squares; every third holds none."""
    generator = np.random.default_rng(seed)
    masks = []
    for number in range(_IMAGES):
        mask = np.zeros((_SIDE, _SIDE), dtype=bool)
        for row, column, side in generator.integers(2, 7, (2 if number % 3 else 0, 3)):
            mask[2 * row : 2 * row + side, 2 * column : 2 * column + side] = True
        masks.append(mask)
    return masks


def _count(maps: list[np.ndarray], masks: list[np.ndarray]) -> MapCounts:
    return _locked(count_maps(maps, [RegionMask.of(mask) for mask in masks]))


def _draw(seed: int) -> MapCounts:
    """Counts of maps that see something of their masks."""
    generator, masks = np.random.default_rng(seed), _masks(seed)
    maps = [np.clip(generator.normal(0.35 + 0.3 * mask, 0.2), 0, 1) for mask in masks]
    return _count([evidence.round(2) for evidence in maps], masks)


def _locked(counts: MapCounts) -> MapCounts:
    """Counts that nobody may write to."""
    for field in dataclasses.fields(counts):
        getattr(counts, field.name).flags.writeable = False
    return counts


def _weighted(counts: MapCounts, weights_N: np.ndarray) -> MapCounts:
    return _locked(dataclasses.replace(counts, weights_N=weights_N))


def _same(first: float, second: float) -> bool:
    return math.isclose(first, second, rel_tol=0, abs_tol=_TOLERANCE) or (
        math.isnan(first) and math.isnan(second)
    )


def _of(example: MapMetricExample) -> MapCounts:
    return _count(
        [np.array(rows, dtype=np.float64) for rows in example.maps],
        [np.array(rows, dtype=bool) for rows in example.masks],
    )


@check("map-metric")
def is_described(subject: Subject, name: str) -> None:
    """It has a summary and a source, and bounds in their order."""
    spec = _spec(subject, name)
    require(bool(spec.summary.strip() and spec.source.strip()), "summary or source is empty")
    require(spec.bounds[0] < spec.bounds[1], f"its bounds are {spec.bounds}")


@check("map-metric")
def gives_the_known_answers(subject: Subject, name: str) -> None:
    """It agrees with examples whose answer is known from elsewhere."""
    spec = _spec(subject, name)
    require(bool(spec.examples), "it has no example")
    for example in spec.examples:
        found = spec.compute(_of(example))
        require(_same(found, example.value), f"{found!r} instead of {example.value!r}")
        require(bool(example.source.strip()), "an example does not say who knows the answer")


@check("map-metric")
def stays_in_its_bounds(subject: Subject, name: str) -> None:
    """Whatever the maps, the value lies in the declared bounds."""
    spec = _spec(subject, name)
    for seed in range(_DRAWS):
        value = spec.compute(_draw(seed))
        inside = spec.bounds[0] <= value <= spec.bounds[1]
        require(inside, f"{value} is outside {spec.bounds}")


@check("map-metric")
def ignores_the_order(subject: Subject, name: str) -> None:
    """Images in another order give the same value."""
    spec = _spec(subject, name)
    for seed in range(_DRAWS):
        counts = _draw(seed)
        order = np.random.default_rng(seed + 1).permutation(_IMAGES)
        plain, moved = spec.compute(counts), spec.compute(_locked(counts.take(order)))
        require(_same(plain, moved), f"{plain!r} became {moved!r}")


@check("map-metric")
def minds_the_weights(subject: Subject, name: str) -> None:
    """An image of weight 0 is not there, and weights that are all doubled change nothing."""
    spec, counts = _spec(subject, name), _draw(0)
    half = np.arange(_IMAGES) % 2
    without = spec.compute(_weighted(counts, half.astype(np.float64)))
    alone = spec.compute(_locked(counts.take(np.flatnonzero(half))))
    require(_same(without, alone), f"half the images give {alone!r}, by weights {without!r}")
    plain, doubled = spec.compute(counts), spec.compute(_weighted(counts, np.full(_IMAGES, 2.0)))
    require(_same(plain, doubled), f"{plain!r} became {doubled!r} when every weight was doubled")


@check("map-metric")
def is_defined_without_a_class(subject: Subject, name: str) -> None:
    """Without positive regions or without negative pixels: nan or in bounds, without a warning."""
    spec = _spec(subject, name)
    maps = [np.full((4, 4), 0.25), np.eye(4)]
    for label in (False, True):
        _check_edge(spec, _count(maps, [np.full((4, 4), label)] * 2))


@check("map-metric")
def is_defined_for_nothing(subject: Subject, name: str) -> None:
    """No image at all gives nan or a value in bounds, without a warning."""
    _check_edge(_spec(subject, name), _count([], []))


def _check_edge(spec: MapMetricSpec, counts: MapCounts) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value = spec.compute(counts)
    low, high = spec.bounds
    require(math.isnan(value) or low <= value <= high, f"{value} is outside {spec.bounds}")


@check("map-metric")
def gives_a_plain_number(subject: Subject, name: str) -> None:
    """The value is a float of Python, the same each time."""
    spec = _spec(subject, name)
    first, second = (spec.compute(_draw(0)) for _ in range(2))
    require(type(first) is float, f"it is a {type(first).__name__}; wrap it in float()")
    require(_same(first, second), "two calls differ")


@check("map-metric")
def knows_its_direction(subject: Subject, name: str) -> None:
    """Maps that are right are no worse than reversed ones, by the declared direction."""
    spec, masks = _spec(subject, name), _masks(0)
    right, wrong = (
        spec.compute(_count([start + step * mask for mask in masks], masks))
        for start, step in ((0.1, 0.8), (0.9, -0.8))
    )
    better = right >= wrong if spec.higher_is_better else right <= wrong
    require(better, f"right maps give {right}, reversed ones {wrong}")

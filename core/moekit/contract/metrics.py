"""Records of metrics."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from moekit.contract.map_counts import MapCounts


@dataclasses.dataclass(frozen=True, kw_only=True)
class MetricExample:
    """An answer that is known from elsewhere, against which a metric is checked.

    Attributes:
        value: What the metric must give, to 1e-9.
        source: Who says so: a library with its version, a paper, or the arithmetic itself.
        given: What the metric needs, by name. Nested tuples become arrays, all else is handed over
            as it is. An array has a row for each item, unless its name ends with a shape that does
            not begin with N, such as `thresholds_C`. Empty for a metric of the task `score`, which
            takes the three below.
        scores: Scores in [0, 1].
        labels: Labels, 0 or 1.
        threshold: The operating threshold.
    """

    value: float
    source: str
    given: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    scores: tuple[float, ...] = ()
    labels: tuple[int, ...] = ()
    threshold: float = 0.5


@dataclasses.dataclass(frozen=True, kw_only=True)
class MetricSpec:
    """A number computed from a tally.

    Attributes:
        name: Short name, unique in its distribution.
        compute: Called with the values of `needs`, in their order; returns the value, or nan if it
            is undefined (one class only, nothing there). Of the task `score` these are scores (n,)
            float64 in [0, 1], labels (n,) int64 in {0, 1} and the operating threshold (a score at
            or above it is positive).
        higher_is_better: The direction of improvement.
        bounds: Least and greatest value.
        summary: One line for lists and reports.
        source: Paper, standard or library.
        examples: Known answers; conformance checks need at least one.
        task: Name of the task whose tallies it is computed from.
        needs: Fields of the tally, or attributes of the point. If a tally lacks one, the result
            has a note in place of the metric.
        share: Of a metric that is a share of items: called as `compute`, returns two arrays (n,),
            how much each item adds to the numerator and to the denominator (0 or 1 each if items
            are counted). Such a metric has Wilson's interval; any other has a bootstrap.
        undefined: When `compute` returns nan, such as "only one class is there". The result says it
            next to a metric without a value.
    """

    name: str
    compute: Callable[..., float]
    higher_is_better: bool
    bounds: tuple[float, float]
    summary: str
    source: str
    examples: tuple[MetricExample, ...] = ()
    task: str = "score"
    needs: tuple[str, ...] = ("scores", "labels", "threshold")
    share: Callable[..., tuple[np.ndarray, np.ndarray]] | None = None
    undefined: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MapMetricExample:
    """An answer on small maps that is known from elsewhere.

    Attributes:
        maps: Of each image the rows of its map, values in [0, 1]; at most 1,000 different values in
            all, and as many rows and columns as its mask has, so that nothing is rounded.
        masks: Of each image the rows of its mask, 1 if it is positive, 0 elsewhere.
        value: What the metric must give, to 1e-9.
        source: Who says so: a library with its version, a paper, or the arithmetic itself.
    """

    maps: tuple[tuple[tuple[float, ...], ...], ...]
    masks: tuple[tuple[tuple[int, ...], ...], ...]
    value: float
    source: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class MapMetricSpec:
    """A number computed from maps and masks: how well a kit says where an image is positive.

    Attributes:
        name: Short name, unique in its distribution.
        compute: Called with the counts of pixels over thresholds (`moekit.MapCounts`), which it
            leaves alone and whose weights it minds; returns the value, or nan if it is undefined
            (no positive region, no negative pixel).
        higher_is_better: The direction of improvement.
        bounds: Least and greatest value.
        summary: One line for lists and reports.
        source: Paper, standard or library.
        examples: Known answers; conformance checks need at least one.
    """

    name: str
    compute: Callable[[MapCounts], float]
    higher_is_better: bool
    bounds: tuple[float, float]
    summary: str
    source: str
    examples: tuple[MapMetricExample, ...] = ()

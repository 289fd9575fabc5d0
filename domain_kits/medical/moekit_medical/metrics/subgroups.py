"""A metric in each subgroup: sexes, makers of scanners, slice thicknesses."""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Mapping

import numpy as np

from moekit import MetricSpec
from moekit.evaluation import Resamples, measure
from moekit.tasks.score import Predictions

UNKNOWN = "unknown"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SubgroupValue:
    """A metric of one subgroup.

    Attributes:
        name: The value that its members share; `unknown` for those without one.
        n: How many samples.
        positives: How many of them are positive.
        value: The metric; None if the subgroup cannot define it.
        ci95: Its 95% interval; None if undefined.
    """

    name: str
    n: int
    positives: int
    value: float | None
    ci95: tuple[float, float] | None


def by_subgroup(
    metric: MetricSpec,
    predictions: Predictions,
    *,
    threshold: float,
    subgroup_of: Mapping[str, str],
    seed: int,
    resamples: int | None = None,
) -> tuple[SubgroupValue, ...]:
    """Computes a metric in each subgroup; together the subgroups hold every sample once.

    Differences between subgroups are not tested: the intervals of small ones are wide, and one in
    twenty looks different by chance.

    Args:
        metric: What is computed.
        predictions: Scores next to labels.
        threshold: The operating threshold of all subgroups.
        subgroup_of: From sample id to its subgroup. Samples without one, or with an empty one,
            form the subgroup `unknown`.
        seed: Of the bootstrap; every subgroup starts from it.
        resamples: How many bootstrap samples; `moekit.evaluation.RESAMPLES` if None.

    Returns:
        Subgroups by name, `unknown` last.
    """
    names = np.array([subgroup_of.get(name) or UNKNOWN for name in predictions.ids], dtype=object)
    ordered = sorted(set(names), key=lambda name: (name == UNKNOWN, name))
    return tuple(
        _value(
            metric,
            predictions.take(np.flatnonzero(names == name)),
            name=name,
            threshold=threshold,
            samples=(seed, resamples),
        )
        for name in ordered
    )


def _value(
    metric: MetricSpec,
    part: Predictions,
    *,
    name: str,
    threshold: float,
    samples: tuple[int, int | None],
) -> SubgroupValue:
    seed, count = samples
    point = types.SimpleNamespace(threshold=threshold)
    (measured,) = measure([metric], part, point, Resamples(part, seed=seed, count=count))
    return SubgroupValue(
        name=name,
        n=len(part),
        positives=int(part.labels.sum()),
        value=measured.value if math.isfinite(measured.value) else None,
        ci95=None if measured.ci95 is None else (measured.ci95[0], measured.ci95[1]),
    )

"""What an evaluation says of the model that answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from moekit.contract.answers import TaskContext
from moekit.contract.metrics import MapMetricSpec, MetricSpec
from moekit.contract.tasks import TaskSpec
from moekit.evaluation.bootstrap import Resamples
from moekit.evaluation.needs import usable_metrics
from moekit.evaluation.summary import figures, measure
from moekit.runs.choices import BASELINE, MEAN, SPECIALIST, Model

_PLACES: Mapping[Model, int] = {SPECIALIST: 0, BASELINE: 1, MEAN: 2}


def used_point(model: Model, points: Sequence[Any]) -> Any:
    """The point of the model that answers; the specialist's if it has none of its own."""
    place = _PLACES[model]
    return points[place] if place < len(points) else points[0]


def outcome_in_words(
    model: Model,
    tallies: Sequence[Any],
    points: Sequence[Any],
    task: TaskSpec,
    context: TaskContext,
) -> list[str]:
    """What the answers of the model that answers come to, in sentences; see `Judge.outcome`.

    Args:
        model: Which.
        tallies: As of `used_model`.
        points: As of `used_model`.
        task: The task.
        context: What its functions know.
    """
    place = _PLACES[model]
    tally = tallies[place] if place < len(tallies) else tallies[0]
    return list(task.judge.outcome(tally, used_point(model, points), context))


def used_model(
    model: Model,
    tallies: Sequence[Any],
    points: Sequence[Any],
    metrics: Sequence[MetricSpec | MapMetricSpec],
    *,
    seed: int,
    why: str,
) -> dict[str, Any]:
    """The model that `predict` and `watch` answer by, and its figures.

    Args:
        model: Which.
        tallies: Of the specialist, the baseline and, if it is used, the mean of both.
        points: Of each.
        metrics: What to compute of the mean; the others' figures stand elsewhere in a result.
        seed: Of the bootstrap.
        why: A sentence, or empty.
    """
    said: dict[str, Any] = {"model": model, "in_words": why}
    if model == MEAN:
        tally, point = tallies[_PLACES[MEAN]], points[_PLACES[MEAN]]
        found, _ = usable_metrics(metrics, tally, point)
        measured = measure(found, tally, point, Resamples(tally, seed=seed))
        said["metrics"] = figures(measured, n=len(tally))
    return said

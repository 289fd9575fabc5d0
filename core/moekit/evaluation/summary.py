"""The figures of an evaluation: every metric with its interval, whole and by subtype."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from moekit.contract.answers import Tally
from moekit.contract.metrics import MapMetricSpec, MetricSpec
from moekit.contract.tasks import SummaryJob, TaskSpec
from moekit.errors import PluginError
from moekit.evaluation.bootstrap import RESAMPLES, Resamples, percentile_interval
from moekit.plugins.faults import is_nobodys, owner_in_words

BASELINE = "frozen backbone, same head"
_ROUNDING = 1e-9
Metric = MetricSpec | MapMetricSpec


def summarise(
    tallies: Sequence[Any],
    points: Sequence[Any],
    metrics: Sequence[Metric],
    *,
    task: TaskSpec,
    seed: int,
    resamples: int = RESAMPLES,
    optional: bool = False,
) -> dict[str, Any]:
    """Computes all figures of one split.

    Args:
        tallies: Of the kit and, if there is one, of the baseline, with the same items.
        points: What was chosen for each on validation data.
        metrics: What to compute.
        task: Knows what its tallies hold.
        seed: Of the bootstrap.
        resamples: Bootstrap samples.
        optional: Whether a metric whose needs are not met is left out without a note: the kit has
            not asked for it by name.

    Returns:
        n, the task's counts, metrics, subsets, interval, baseline, comparison and notes, ready for
        JSON; an undefined value is None. `comparison` holds the task's paired test and, for each
        metric, kit minus baseline with the interval of that difference on the same resamples.

    Raises:
        DataError: A tally holds impossible values.
        PluginError: A metric raises, or leaves its bounds.
    """
    task.judge.check(tallies)
    kit, *others = tallies
    drawn = Resamples(kit, seed=seed, count=resamples)
    usable, notes = _usable(metrics, kit, points[0])
    notes = [] if optional else notes
    measured = measure(usable, kit, points[0], drawn)
    result: dict[str, Any] = {
        "n": len(kit),
        **task.judge.facts(kit),
        "metrics": figures(measured, n=len(kit)),
        "subsets": _subsets(kit, points[0], usable, task, seed, resamples),
        "interval": {
            "level": 0.95,
            "method": f"percentile bootstrap {_method(drawn, task)}",
            "resamples": drawn.count,
            "redrawn": drawn.redrawn,
        },
        "baseline": None,
        "comparison": None,
        "notes": notes,
    }
    if others:
        bare = measure(usable, others[0], points[1], drawn)
        point = {} if points[1] is None else points[1].brief()
        result["baseline"] = {
            "name": BASELINE,
            **point,
            "metrics": figures(bare, n=len(kit)),
        }
        result["comparison"] = _comparison(task, kit, others[0], measured, bare)
    job = SummaryJob(
        tallies=tallies, points=points, metrics=metrics, seed=seed, resamples=resamples
    )
    return task.judge.complete(result, job)


def _method(drawn: Resamples, task: TaskSpec) -> str:
    if drawn.clustered:
        return "by group"
    return "within classes" if task.labelled else "by item"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """A metric's value on the split, and on each resample of it.

    Attributes:
        spec: The metric.
        value: nan if it is undefined.
        resampled: (resamples,) float64, nan if undefined.
    """

    spec: Metric
    value: float
    resampled: np.ndarray


def _usable(
    metrics: Sequence[Metric], tally: Tally, point: Any
) -> tuple[list[MetricSpec], list[str]]:
    """The metrics whose needs are met, and a note on each of the others."""
    usable, notes = [], []
    for metric in metrics:
        if not isinstance(metric, MetricSpec):
            continue
        missing = [name for name in metric.needs if _need(name, tally, point) is None]
        if missing:
            notes.append(f"{metric.name} not computed: there is no {', '.join(missing)}")
        else:
            usable.append(metric)
    return usable, notes


def _need(name: str, tally: Tally, point: Any) -> Any:
    value = tally.field(name)
    return getattr(point, name, None) if value is None else value


def value_of(metric: MetricSpec, tally: Tally, point: Any) -> float:
    """A metric's value on a tally.

    Raises:
        PluginError: It raises, or leaves its bounds.
    """
    given = [_need(name, tally, point) for name in metric.needs]
    # Copies, so that a metric that writes into its input spoils no other.
    copies = (one.copy() if isinstance(one, np.ndarray) else one for one in given)
    return checked_value(metric, *copies)


def measure(
    metrics: Sequence[MetricSpec], tally: Tally, point: Any, drawn: Resamples
) -> list[Measured]:
    """Every metric on a tally and on its resamples."""
    measured = []
    for metric in metrics:
        given = [_need(name, tally, point) for name in metric.needs]

        def of_rows(
            rows: np.ndarray, metric: MetricSpec = metric, given: list[Any] = given
        ) -> float:
            taken = (one[rows] if isinstance(one, np.ndarray) else one for one in given)
            return checked_value(metric, *taken)

        value = value_of(metric, tally, point)
        resampled = drawn.values(of_rows) if math.isfinite(value) else np.full(drawn.count, np.nan)
        measured.append(Measured(spec=metric, value=value, resampled=resampled))
    return measured


def figures(measured: Sequence[Measured], **counts: int) -> dict[str, Any]:
    """Value, interval and direction of each metric by its name, ready for JSON.

    Args:
        measured: The metrics.
        counts: From how much each was computed, such as n.
    """
    return {
        entry.spec.name: {
            "value": _number(entry.value),
            "ci95": _interval(entry.resampled),
            "higher_is_better": entry.spec.higher_is_better,
            **counts,
        }
        for entry in measured
    }


def _subsets(
    tally: Tally,
    point: Any,
    metrics: Sequence[MetricSpec],
    task: TaskSpec,
    seed: int,
    resamples: int,
) -> dict[str, Any]:
    subtypes = np.array(tally.subtypes or (), dtype=object)
    subsets = {}
    for name in sorted(set(subtypes) - {""}):
        part = tally.take(np.flatnonzero(subtypes == name))
        drawn = Resamples(part, seed=seed, count=resamples)
        subsets[name] = {
            "n": len(part),
            **task.judge.facts(part),
            "metrics": figures(measure(metrics, part, point, drawn), n=len(part)),
        }
    return subsets


def _comparison(
    task: TaskSpec, kit: Tally, bare: Tally, ours: Sequence[Measured], theirs: Sequence[Measured]
) -> dict[str, Any] | None:
    metrics = {"metrics": differences(ours, theirs)}
    if task.judge.compare is None:
        return metrics
    test = task.judge.compare(kit, bare)
    return None if test is None else {**test, **metrics}


def differences(kit: Sequence[Measured], baseline: Sequence[Measured]) -> dict[str, Any]:
    """Kit less baseline of each metric by its name, with the interval on the same resamples."""
    return {
        ours.spec.name: {
            "difference": _number(ours.value - theirs.value),
            "ci95": _interval(ours.resampled - theirs.resampled),
        }
        for ours, theirs in zip(kit, baseline, strict=True)
    }


def checked_value(metric: Metric, *given: Any) -> float:
    """What a metric makes of its input.

    Raises:
        PluginError: It raises, or leaves its bounds.
    """
    compute: Callable[..., float] = metric.compute
    try:
        value = float(compute(*given))
    except BaseException as error:  # a plugin may raise anything, SystemExit included
        if is_nobodys(error):
            raise
        raise _fault(
            metric, f"raised {type(error).__name__}: {error}", code="plugin/metric-failed"
        ) from error
    low, high = metric.bounds
    if not math.isnan(value) and not low - _ROUNDING <= value <= high + _ROUNDING:
        raise _fault(
            metric,
            f"returned {value}, outside its bounds {low} to {high}",
            code="plugin/metric-bounds",
        )
    return value


def _fault(metric: Metric, what: str, *, code: str) -> PluginError:
    owner = owner_in_words(metric.compute)
    return PluginError(
        f"the metric {metric.name} {what}",
        whose=f"{owner}, metric {metric.name}" if owner else metric.name,
        fix="report it to the plugin's authors; leave the metric out until it is mended",
        code=code,
    )


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _interval(resampled: np.ndarray) -> list[float] | None:
    interval = percentile_interval(resampled)
    return None if interval is None else list(interval)

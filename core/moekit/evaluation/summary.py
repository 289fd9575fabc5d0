"""The figures of an evaluation: every metric with its interval, whole and by subtype."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from moekit.contract.answers import Tally
from moekit.contract.metrics import MetricSpec
from moekit.contract.tasks import SummaryJob, TaskSpec
from moekit.errors import PluginError, is_nobodys
from moekit.evaluation.bootstrap import Resamples
from moekit.evaluation.intervals import resampled_difference, resampled_interval
from moekit.evaluation.needs import Metric, need_of, usable_metrics
from moekit.evaluation.shares import METHOD, Share, paired_interval, share_of
from moekit.evaluation.verdict import better_in_words, sides_of
from moekit.moe.owned import in_place
from moekit.plugins.faults import owner_in_words
from moekit.plugins.settings_kept import settings_kept

BASELINE = "frozen backbone, same head"
_ROUNDING = 1e-9


def summarise(
    tallies: Sequence[Any],
    points: Sequence[Any],
    metrics: Sequence[Metric],
    *,
    task: TaskSpec,
    seed: int,
    resamples: int | None = None,
    optional: bool = False,
    baseline: str = BASELINE,
    sides: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Computes all figures of one split.

    Args:
        tallies: Of the kit and, if there is one, of the baseline, with the same items.
        points: What was chosen for each on validation data.
        metrics: What to compute.
        task: Knows what its tallies hold.
        seed: Of the bootstrap.
        resamples: Bootstrap samples; `RESAMPLES` if None.
        optional: Whether a metric whose needs are not met is left out without a note: the kit has
            not asked for it by name.
        baseline: What the baseline is called.
        sides: Names of both by what the verdict calls them; specialist and baseline if None.

    Returns:
        n, the task's counts, metrics, subsets, interval, baseline, comparison and notes, ready for
        JSON; an undefined value is None. `comparison` holds the task's paired test and, for each
        metric, kit minus baseline with the interval of that difference: of the metric that the test
        names (`metric`) the test's own, of shares of the same items the paired score interval, of
        others from the same resamples.

    Raises:
        DataError: A tally holds impossible values.
        PluginError: A metric raises, or leaves its bounds.
    """
    task.judge.check(tallies)
    kit, *others = tallies
    drawn = Resamples(kit, seed=seed, count=resamples)
    usable, notes = usable_metrics(metrics, kit, points[0], lacking=task.judge.lacking)
    notes = [] if optional else notes
    measured = measure(usable, kit, points[0], drawn)
    notes += [
        f"{one.spec.name} is undefined here: {one.spec.undefined}"
        for one in measured
        if math.isnan(one.value) and isinstance(one.spec, MetricSpec) and one.spec.undefined
    ]
    result: dict[str, Any] = {
        "n": len(kit),
        **task.judge.facts(kit),
        "metrics": figures(measured, n=len(kit)),
        "subsets": _subsets(kit, points[0], usable, task, seed, resamples),
        "interval": {
            "level": 0.95,
            "method": f"percentile bootstrap {_method(drawn, task)}",
            "of_shares": METHOD,
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
            "name": baseline,
            **point,
            "metrics": figures(bare, n=len(kit)),
        }
        compared = _comparison(task, kit, others[0], measured, bare)
        if compared is not None:
            verdict = better_in_words(
                result["metrics"],
                compared["metrics"],
                sides or sides_of(baseline),
                units=drawn.units,
            )
            compared = {**compared, "verdict": verdict}
        result["comparison"] = compared
    job = SummaryJob(
        tallies=tallies, points=points, metrics=metrics, seed=seed, resamples=drawn.count
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
        share: The counts of a metric that is a share; None of any other.
        items: (n,) numerator and (n,) denominator of each item of such a share.
        groups: (n) names of the groups of its items, or None.
        units: Independent items of the smallest stratum.
    """

    spec: Metric
    value: float
    resampled: np.ndarray
    share: Share | None = None
    items: tuple[np.ndarray, np.ndarray] | None = None
    groups: tuple[str, ...] | None = None
    units: int = 0

    @property
    def ci95(self) -> list[float] | None:
        """The 95% interval; None if none is known."""
        if not math.isfinite(self.value):
            return None
        if self.share is not None:
            return _listed(self.share.ci95)
        return _listed(resampled_interval(self.resampled, self.units, self.spec.bounds))


def value_of(metric: MetricSpec, tally: Tally, point: Any) -> float:
    """A metric's value on a tally.

    Raises:
        PluginError: It raises, or leaves its bounds.
    """
    given = [need_of(name, tally, point) for name in metric.needs]
    # Copies, so that a metric that writes into its input spoils no other.
    return checked_value(metric, *map(_copy, given))


def _copy(value: Any) -> Any:
    return value.copy() if isinstance(value, np.ndarray) else value


def measure(
    metrics: Sequence[MetricSpec], tally: Tally, point: Any, drawn: Resamples
) -> list[Measured]:
    """Every metric on a tally and on its resamples."""
    with settings_kept():  # once, since each metric is called a thousandfold
        return _measured(metrics, tally, point, drawn)


def _measured(
    metrics: Sequence[MetricSpec], tally: Tally, point: Any, drawn: Resamples
) -> list[Measured]:
    measured = []
    for metric in metrics:
        given = [need_of(name, tally, point) for name in metric.needs]
        # Arrays of the point have no rows of items.
        has_rows = [isinstance(tally.field(name), np.ndarray) for name in metric.needs]

        def of_rows(
            rows: np.ndarray,
            metric: MetricSpec = metric,
            given: Sequence[tuple[Any, bool]] = tuple(zip(given, has_rows, strict=True)),
        ) -> float:
            taken = (one[rows] if rowed else _copy(one) for one, rowed in given)
            return checked_value(metric, *taken)

        value = value_of(metric, tally, point)
        items = _items(metric, given, len(tally), value)
        share = None if items is None else share_of(*items, tally.groups)
        statistic = of_rows if items is None else functools.partial(_ratio, *items)
        defined = math.isfinite(value)
        resampled = drawn.values(statistic) if defined else np.full(drawn.count, np.nan)
        measured.append(
            Measured(
                spec=metric,
                value=value,
                resampled=resampled,
                share=share,
                items=items,
                groups=tally.groups,
                units=drawn.units,
            )
        )
    return measured


def _ratio(hits_N: np.ndarray, of_N: np.ndarray, rows: np.ndarray) -> float:
    total = float(of_N[rows].sum())
    return float(hits_N[rows].sum()) / total if total else math.nan


def _items(
    metric: MetricSpec, given: Sequence[Any], count: int, value: float
) -> tuple[np.ndarray, np.ndarray] | None:
    """What each item adds to a share; None of other metrics.

    Raises:
        PluginError: It raises, has another shape, or is not the share that the metric computes.
    """
    if metric.share is None:
        return None
    try:
        hits_N, of_N = (np.asarray(one) for one in metric.share(*map(_copy, given)))
    except Exception as error:  # a plugin's metric may raise anything
        raise _fault(
            metric, f"raised {type(error).__name__}: {error}", code="plugin/metric-failed"
        ) from error
    fits = hits_N.shape == of_N.shape == (count,)
    if not fits or not ((hits_N >= 0) & (hits_N <= of_N) & np.isfinite(of_N)).all():
        raise _fault(
            metric,
            "counts its share by arrays that are not (n,), or by more hits than items",
            code="plugin/metric-share",
        )
    total = float(of_N.sum())
    counted = float(hits_N.sum()) / total if total else math.nan
    if not (math.isclose(counted, value, abs_tol=_ROUNDING) or math.isnan(counted + value)):
        raise _fault(
            metric, f"returned {value}, and counts a share of {counted}", code="plugin/metric-share"
        )
    return hits_N, of_N


def figures(measured: Sequence[Measured], **counts: int) -> dict[str, Any]:
    """Value, interval and direction of each metric by its name, ready for JSON.

    Args:
        measured: The metrics.
        counts: From how much each was computed, such as n.
    """
    return {
        entry.spec.name: {
            "value": _number(entry.value),
            "ci95": entry.ci95,
            "higher_is_better": entry.spec.higher_is_better,
            **counts,
            **({} if entry.share is None else {"share": entry.share.as_json()}),
        }
        for entry in measured
    }


def _subsets(
    tally: Tally,
    point: Any,
    metrics: Sequence[MetricSpec],
    task: TaskSpec,
    seed: int,
    resamples: int | None,
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
    gaps = differences(ours, theirs)
    if task.judge.compare is None:
        return {"metrics": gaps}
    test = task.judge.compare(kit, bare)
    if test is None:
        return None
    tested = test.get("metric")
    if tested in gaps and test.get("ci95") is not None:
        gaps[tested] = {**gaps[tested], "ci95": test["ci95"]}  # one difference, one interval
    return {**test, "metrics": gaps}


def differences(kit: Sequence[Measured], baseline: Sequence[Measured]) -> dict[str, Any]:
    """Kit less baseline of each metric by its name, with the interval of the difference."""
    return {
        ours.spec.name: {
            "difference": _number(ours.value - theirs.value),
            "ci95": difference_ci95(ours, theirs),
        }
        for ours, theirs in zip(kit, baseline, strict=True)
    }


def difference_ci95(first: Measured, second: Measured) -> list[float] | None:
    """The 95% interval of the first less the second, measured on the same items.

    Of two shares of the same items it is the paired score interval; else it comes from the same
    resamples.
    """
    difference = first.value - second.value
    if not math.isfinite(difference):
        return None
    if first.items is not None and second.items is not None:
        (hits_N, of_N), (other_N, other_of_N) = first.items, second.items
        if np.array_equal(of_N, other_of_N) and of_N.max(initial=0) <= 1:
            return _listed(paired_interval(hits_N, other_N, of_N, first.groups))
    drawn = first.resampled - second.resampled
    interval = resampled_difference(drawn, difference, first.units, first.spec.bounds)
    return _listed(interval)


def checked_value(metric: Metric, *given: Any) -> float:
    """What a metric makes of its input.

    Raises:
        PluginError: It raises, or leaves its bounds.
    """
    compute: Callable[..., float] = metric.compute
    try:
        with in_place():
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


def _listed(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else list(interval)

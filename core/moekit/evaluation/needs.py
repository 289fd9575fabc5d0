"""Which metrics can be computed from a tally and its point, and why the others cannot."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from moekit.contract.answers import Tally
from moekit.contract.metrics import MapMetricSpec, MetricSpec

Metric = MetricSpec | MapMetricSpec


def usable_metrics(
    metrics: Sequence[Metric],
    tally: Tally,
    point: Any,
    *,
    lacking: Mapping[str, str] | None = None,
) -> tuple[list[MetricSpec], list[str]]:
    """The metrics whose needs are met, and a note on each of the others.

    Args:
        metrics: Those that are wanted.
        tally: What they are computed from.
        point: Likewise.
        lacking: See `Judge.lacking`.
    """
    usable, notes = [], []
    for metric in metrics:
        if not isinstance(metric, MetricSpec):
            continue
        missing = [name for name in metric.needs if need_of(name, tally, point) is None]
        if missing:
            why = dict.fromkeys((lacking or {}).get(name) or _unnamed(name) for name in missing)
            notes.append(f"{metric.name} not computed: {'; '.join(why)}")
        else:
            usable.append(metric)
    return usable, notes


def _unnamed(name: str) -> str:
    """What is said of a field that the task has no words for: its name without the shape."""
    return f"there is no {re.sub('_[A-Z0-9]+$', '', name).replace('_', ' ')}"


def need_of(name: str, tally: Tally, point: Any) -> Any:
    """A field of a tally, or an attribute of a point; None if neither has it."""
    value = tally.field(name)
    return getattr(point, name, None) if value is None else value


def headline(metrics: Sequence[Metric], tally: Tally, point: Any) -> MetricSpec | None:
    """The metric that runs are compared by: the first of values whose needs the tally meets.

    None of values: None. If no need is met, the first of them.
    """
    usable, _ = usable_metrics(metrics, tally, point)
    return next(iter([*usable, *(one for one in metrics if isinstance(one, MetricSpec))]), None)

"""Which of a run's models answers: the specialist, its baseline, or the mean of both.

The rule is paired and is decided on the validation split: the specialist stays, unless another
model is better there by the headline metric and the 95% interval of the paired difference leaves
out 0. The baseline is compared first, then the mean with the better of the two. From few items a
bootstrap interval is too narrow, so that fewer than `LEAST` of them prove nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from moekit.contract.metrics import MetricSpec
from moekit.data.samples import Dataset
from moekit.errors import MoekitError, UsageError
from moekit.evaluation.bootstrap import Resamples
from moekit.evaluation.counts import count_classes
from moekit.evaluation.needs import headline, usable_metrics
from moekit.evaluation.summary import Measured, difference_ci95, measure
from moekit.evaluation.verdict import LEAST
from moekit.plugins.resolve import Resolved
from moekit.runs.choices import BASELINE, MEAN, SPECIALIST, Model
from moekit.runs.run import MEAN_VALIDATION, Run
from moekit.runtime.load import point_in_words, rule_of

RULE = (
    "the specialist, unless another model is better on the validation split and the 95% interval "
    f"of the paired difference leaves out 0, from at least {LEAST} items (or groups) of each class"
)
RESAMPLES = 1000
Name = TypeVar("Name", bound=str)
_ORDER: tuple[Model, ...] = (SPECIALIST, BASELINE, MEAN)


def check_rule(resolved: Resolved, rule: str, dataset: Dataset) -> None:
    """Says before a training, not after it, that a rule is unknown or needs more samples.

    Raises:
        DataError: The validation split does not do for the rule.
        UsageError: The rule is unknown, or the task has none.
    """
    judge = resolved.task.judge
    if rule and not judge.rules:
        raise UsageError(
            f"the task {resolved.task.name} has no point that a rule could choose",
            whose="--threshold-rule",
            fix="leave it out",
            code="usage/not-for-task",
        )
    if rule and judge.check_rule is not None:
        judge.check_rule(rule, dataset.split("val"))


def settle(
    run: Run, resolved: Resolved, tallies: Sequence[Any], *, rule: str, dataset: Dataset
) -> tuple[dict[str, Any], list[str]]:
    """What a run keeps: `rule`, `point`, `use` and `class_counts`, ready for JSON.

    If the mean of both models is best, its validation tally is written.

    Args:
        run: The run.
        resolved: The kit.
        tallies: Of the specialist, the baseline and the mean, on the validation split.
        rule: By which points are chosen; the kit's own, or the task's first, if empty.
        dataset: What was learned from.

    Returns:
        What is kept, and the names of the files that were written.
    """
    written: list[str] = []
    found = choices(resolved, tallies, rule=rule)
    if found["use"]["model"] == MEAN:
        written = resolved.task.judge.save(run.folder, MEAN_VALIDATION, tallies[2:])
    counts = {}
    if resolved.task.labelled:
        for name in ("train", "val"):
            counts[name] = count_classes(dataset.split(name), dataset.classes)
    found["class_counts"] = {name: one for name, one in counts.items() if one}
    return found, written


def choices(resolved: Resolved, tallies: Sequence[Any], *, rule: str) -> dict[str, Any]:
    """The rule, the point and the model, as of `settle`."""
    judge = resolved.task.judge
    named = rule_of(resolved, rule)
    use = select(resolved, tallies, rule=named)
    try:
        point = judge.choose(tallies[_ORDER.index(use["model"])], named)
    except MoekitError as error:
        told = [f"the rule {named} does not do for the validation split: {error.what}"]
        chosen = None
    else:
        told = list(point_in_words(point))
        chosen = None if point is None else point.as_json()
    return {
        "rule": {"name": named, "by": "adapt" if rule else "kit"},
        "point": {"chosen": chosen, "in_words": told},
        "use": use,
    }


def select(resolved: Resolved, tallies: Sequence[Any], *, rule: str) -> dict[str, Any]:
    """Decides which model answers.

    Args:
        resolved: The kit.
        tallies: Of the specialist, the baseline and the mean, on the validation split.
        rule: By which their points are chosen.

    Returns:
        `model`, the `rule`, the `metric` with n and its `values`, the `differences` to the
        specialist and, `in_words`, why; ready for JSON.
    """
    drawn = Resamples(tallies[0], seed=0, count=RESAMPLES)
    named = dict(zip(_ORDER, tallies, strict=True))
    metric, measured = measured_of(resolved, named, drawn, rule)
    if metric is None or measured is None:
        name = "the headline metric" if metric is None else metric.name
        return {
            "model": SPECIALIST,
            "rule": RULE,
            "metric": None if metric is None else metric.name,
            "in_words": f"nothing was compared: {name} cannot be computed on the validation split",
        }
    chosen = SPECIALIST
    for other in _ORDER[1:]:
        if _beats(measured[other], measured[chosen]):
            chosen = other
    return {
        "model": chosen,
        "rule": RULE,
        "metric": metric.name,
        "n": len(tallies[0]),
        "values": {name: {"value": one.value, "ci95": one.ci95} for name, one in measured.items()},
        "differences": {
            name: {
                "difference": measured[name].value - measured[SPECIALIST].value,
                "ci95": difference_ci95(measured[name], measured[SPECIALIST]),
            }
            for name in _ORDER[1:]
        },
        "in_words": _in_words(metric, measured, chosen, len(tallies[0])),
    }


def measured_of(
    resolved: Resolved, tallies: Mapping[Name, Any], drawn: Resamples, rule: str
) -> tuple[MetricSpec | None, dict[Name, Measured] | None]:
    """The headline metric of several models on the same resamples.

    Args:
        resolved: The kit.
        tallies: By the name of the model, of the same items.
        drawn: The resamples.
        rule: By which the points are chosen.

    Returns:
        The metric, None if the kit has none of values; and its figures, None if it is not defined
        for all models.
    """
    metric: MetricSpec | None = None
    found: dict[Name, Measured] = {}
    for name, tally in tallies.items():
        try:
            point = resolved.task.judge.choose(tally, rule)
        except MoekitError:  # the evaluation says what is wrong
            return metric or headline(resolved.metrics, tally, None), None
        metric = metric or headline(resolved.metrics, tally, point)
        if metric is None:
            return None, None
        try:
            usable, _ = usable_metrics([metric], tally, point)
            measured = measure(usable, tally, point, drawn)
        except MoekitError:
            return metric, None
        if not measured or not math.isfinite(measured[0].value):
            return metric, None
        found[name] = measured[0]
    return metric, found


def _beats(first: Measured, second: Measured) -> bool:
    interval = difference_ci95(first, second)
    if interval is None or first.units < LEAST:
        return False
    return interval[0] > 0 if first.spec.higher_is_better else interval[1] < 0


def _in_words(
    metric: MetricSpec, measured: dict[Model, Measured], chosen: Model, count: int
) -> str:
    values = ", ".join(f"{name} {one.value:.4f}" for name, one in measured.items())
    said = f"{metric.name} on {count} items of the validation split: {values}"
    if chosen != SPECIALIST:
        return f"{said}; the {chosen} is proven better than the specialist there"
    up = metric.higher_is_better
    ahead = [
        name
        for name in _ORDER[1:]
        if measured[name].value != measured[SPECIALIST].value
        and (measured[name].value > measured[SPECIALIST].value) == up
    ]
    if not ahead:
        return f"{said}; none is ahead of the specialist"
    named = " and the ".join(ahead)
    return f"{said}; ahead of the specialist: the {named}, which is not proven"

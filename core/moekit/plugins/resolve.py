"""A kit as a command uses it: its variant for the task and the data, its task, its metrics."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from moekit.contract.answers import TaskContext
from moekit.contract.kits import KitSpec
from moekit.contract.metrics import MapMetricSpec, MetricSpec
from moekit.contract.tasks import TaskSpec
from moekit.data.geometry import Frame
from moekit.data.loaded import check_dataset
from moekit.data.samples import Dataset
from moekit.errors import DataError, PluginError, UsageError, is_nobodys
from moekit.plugins.changes import KitChanges, changed, kit_of_data, kit_of_frames
from moekit.plugins.registry import Registry

FIRST_TASK = "moekit/score"
"""The task of runs that were made before there was a choice."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Resolved:
    """A kit with all that its names mean.

    Attributes:
        kit: The variant, with its experts for stacks in the slots.
        task: What it answers.
        metrics: What its evaluations report, the headline first.
    """

    kit: KitSpec
    task: TaskSpec
    metrics: tuple[MetricSpec | MapMetricSpec, ...]

    def context(
        self,
        *,
        classes: Sequence[str],
        frame: Frame,
        kinds: Sequence[str] = (),
        words: Mapping[str, Any] | None = None,
    ) -> TaskContext:
        """What the task's functions know.

        Args:
            classes: Names of the classes.
            frame: How pictures lie in the input.
            kinds: Kinds of item that the head distinguishes.
            words: The data's own words, which take the place of the kit's.
        """
        return TaskContext(
            classes=tuple(classes),
            vocabulary={**self.kit.words, **(words or {})},
            frame=frame,
            kinds=tuple(kinds),
            options=self.kit.options,
        )


def resolve(
    kit: KitSpec, registry: Registry, *, frames: int = 1, added: Sequence[str] = ()
) -> Resolved:
    """A variant of a kit with its task and metrics.

    Args:
        kit: The variant.
        registry: The installed plugins.
        frames: Of each item.
        added: Names of metrics that are reported after the kit's own.

    Raises:
        UsageError: The task or a metric is unknown, two metrics share a short name, or a metric is
            of another task.
        PluginError: One cannot be used.
    """
    task = registry.task(kit.task)
    home = registry.owner("tasks", kit.task).distribution
    named = kit.metrics or tuple(registry.full_name("metrics", name, home) for name in task.metrics)
    reported = {registry.full_name("metrics", name) for name in (*named, *kit.map_metrics)}
    reported |= {registry.full_name("map_metrics", name) for name in kit.map_metrics}
    more = [one for one in dict.fromkeys(map(registry.metric_name, added)) if one not in reported]
    shorts = [name.rpartition("/")[2] for name in (*named, *kit.map_metrics, *more)]
    twice = sorted({name for name in shorts if shorts.count(name) > 1})
    if twice:
        raise UsageError(
            f"the kit reports two metrics of the name {', '.join(twice)}",
            whose=f"kit {kit.name}",
            fix="leave one of them out, of the kit or of --metric",
            code="usage/metric-conflict",
        )
    metrics: list[MetricSpec | MapMetricSpec] = [
        *(registry.metric(name) for name in named),
        *(registry.map_metric(name) for name in kit.map_metrics),
    ]
    metrics += [_added(name, task, registry) for name in more]
    for metric in metrics:
        if isinstance(metric, MetricSpec) and metric.task.rpartition("/")[2] != task.name:
            raise UsageError(
                f"the metric {metric.name} is of the task {metric.task}, not {task.name}",
                whose=f"kit {kit.name}",
                fix="leave it out",
                code="usage/metric-conflict",
            )
    return Resolved(kit=kit_of_frames(kit, frames), task=task, metrics=tuple(metrics))


def _added(name: str, task: TaskSpec, registry: Registry) -> MetricSpec | MapMetricSpec:
    """A metric that a user names; one of maps is of the first task."""
    metric: MetricSpec | MapMetricSpec
    if name in registry.names("map_metrics"):
        metric, of = registry.map_metric(name), FIRST_TASK
    else:
        metric = registry.metric(name)
        of = metric.task
    if of.rpartition("/")[2] != task.name:
        raise UsageError(
            f"the metric {name} is of the task {of.rpartition('/')[2]}, and the kit answers "
            f"{task.name}",
            whose="--metric",
            fix=f"name a metric of the task {task.name}; `moekit metrics --long` lists them",
            code="usage/metric-conflict",
        )
    return metric


def variant(kit: KitSpec, task: str | None, *, whose: str) -> KitSpec:
    """The variant of a kit that answers a task.

    Args:
        kit: As it is registered.
        task: Name of the task, short or full; the kit's own if None.
        whose: What an error names.

    Raises:
        UsageError: The kit does not offer the task.
    """
    offered = {one.task: one for one in (kit, *kit.variants)}
    if task is None:
        return kit
    for name, one in offered.items():
        if task in (name, name.rpartition("/")[2]):
            return one
    raise UsageError(
        f"the kit {kit.name} does not offer the task {task}",
        whose=whose,
        fix=f"use one of: {', '.join(name.rpartition('/')[2] for name in offered)}",
        code="usage/no-such-task",
    )


def prepared(kit: KitSpec, dataset: Dataset, *, seed: int) -> Dataset:
    """A loaded set with the truth of a kit's variant.

    Raises:
        DataError: The set lacks what the variant learns from.
        PluginError: The kit's own function fails.
    """
    if kit.prepare is None or dataset.ready:
        return dataset
    try:
        ready = kit.prepare(dataset, seed)
    except BaseException as error:  # a plugin may raise anything, SystemExit included
        if is_nobodys(error):
            raise
        raise PluginError(
            f"preparing the data for the task {kit.task} failed: {type(error).__name__}: {error}",
            whose=f"kit {kit.name}",
            fix="check its plugin with `moekit plugins check`, or report it to its authors",
            code="plugin/loader-failed",
        ) from error
    return check_dataset(ready, whose=f"kit {kit.name}")


def kit_for_data(
    registry: Registry,
    name: str,
    dataset: Dataset,
    *,
    task: str | None,
    changes: KitChanges,
    seed: int,
) -> tuple[KitSpec, Dataset]:
    """The variant of a registered kit for a task and data, with a user's changes; and those data.

    Raises:
        DataError: The data do not do for the task.
        UsageError: Something is unknown, or the kit does not offer the task.
    """
    chosen = variant(registry.kit(name), task, whose="--task")
    dataset = prepared(chosen, dataset, seed=seed)
    if registry.task(chosen.task).labelled:
        chosen = kit_of_data(chosen, negatives_only=dataset.negatives_only)
    registry.task(chosen.task).learn.check(dataset)
    return changed(chosen, changes, registry), dataset


def kit_of_run(registry: Registry, name: str, record: Mapping[str, Any]) -> KitSpec:
    """The kit as a run was made with it.

    Args:
        registry: The installed plugins.
        name: Name of the kit.
        record: The content of run.json.

    Raises:
        DataError: The run was made by another kit, or with plugins that are not usable now.
    """
    request = record["request"]
    made_by = request["kit"]
    try:
        if made_by not in (registry.full_name("kits", name), name.rpartition("/")[2]):
            raise DataError(
                f"the run was made by the kit {made_by}, not {name}",
                whose=name,
                fix=f"name the kit {made_by}, or another run",
                code="data/other-kit",
            )
        chosen = variant(registry.kit(name), request.get("task", FIRST_TASK), whose=made_by)
        kit = kit_of_data(chosen, negatives_only=request.get("negatives_only", False))
        return changed(kit, KitChanges.recorded(request.get("changes", {})), registry)
    except UsageError as error:
        used = [f"{one['distribution']} {one['version']}" for one in record.get("plugins", [])]
        raise DataError(
            f"the run was made with something that is not usable now: {error.what}",
            whose=made_by,
            fix=f"install what it was made with: {', '.join(used) or 'see its run.json'}",
            code="data/kit-not-usable",
        ) from error

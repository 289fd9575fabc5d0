"""The kinds of record that plugins provide: one entry each.

Manifest, activation, registry, lists, scaffold and conformance checks are made from this table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from moekit.contract.commands import CommandSpec, HealthCheckSpec
from moekit.contract.datasets import DatasetSpec
from moekit.contract.experts import ExpertSpec, GateSpec
from moekit.contract.kits import KitSpec
from moekit.contract.metrics import MapMetricSpec, MetricSpec
from moekit.contract.report import ReportSectionSpec
from moekit.contract.tasks import TaskSpec


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecordKind:
    """A kind of record; the hook `moekit_KINDS` returns a list of them.

    Attributes:
        record: Its type.
        singular: What one is called in sentences and in `moekit plugins new --kind`.
        summary: What the manifest's reference says.
        since: Version of the plugin contract that it came with.
        lists: Whether `moekit KINDS` lists the installed ones, and that command's help; empty if
            not.
        described: Whether the manifest gives a line of help for each, in a table.
    """

    record: type
    singular: str
    summary: str
    since: tuple[int, int] = (1, 0)
    lists: str = ""
    described: bool = False


KINDS: Mapping[str, RecordKind] = {
    "kits": RecordKind(
        record=KitSpec, singular="kit", summary="Domain kits.", lists="List the installed kits."
    ),
    "experts": RecordKind(
        record=ExpertSpec,
        singular="expert",
        summary="Specialists.",
        lists="List the installed experts, for --expert.",
    ),
    "gates": RecordKind(
        record=GateSpec,
        singular="gate",
        summary="Gating policies.",
        lists="List the installed gates, for --gate.",
    ),
    "datasets": RecordKind(
        record=DatasetSpec,
        singular="dataset",
        summary="Loaders.",
        lists="List the installed loaders, the LOADER of --data.",
    ),
    "metrics": RecordKind(
        record=MetricSpec,
        singular="metric",
        summary="Metrics.",
        lists="List the installed metrics.",
    ),
    "map_metrics": RecordKind(
        record=MapMetricSpec,
        singular="map-metric",
        summary="Metrics of maps against masks. Since API 1.2.",
        since=(1, 2),
        lists="List the installed metrics of maps.",
    ),
    "tasks": RecordKind(
        record=TaskSpec,
        singular="task",
        summary="Kinds of answer. Since API 2.0.",
        since=(2, 0),
        lists="List the installed tasks, for --task.",
    ),
    "health_checks": RecordKind(
        record=HealthCheckSpec,
        singular="health-check",
        summary="Checks that `moekit plugins doctor` runs.",
    ),
    "report_sections": RecordKind(
        record=ReportSectionSpec,
        singular="report-section",
        summary="Sections that the reports of certain kits get.",
    ),
    "commands": RecordKind(
        record=CommandSpec,
        singular="command",
        summary="Commands, each with its line in `moekit --help`; a table. Since API 1.1.",
        since=(1, 1),
        described=True,
    ),
}

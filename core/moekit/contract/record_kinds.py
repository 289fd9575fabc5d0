"""The kinds of record that plugins provide: one entry each.

Manifest, activation, registry, lists, scaffold and conformance checks are made from this table.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecordKind:
    """A kind of record; the hook `moekit_KINDS` returns a list of them.

    Attributes:
        home: The module below `moekit.contract` that defines its type.
        type_name: The name of its type.
        singular: What one is called in sentences and in `moekit plugins new --kind`.
        summary: What the manifest's reference says.
        since: Version of the plugin contract that it came with.
        lists: Whether `moekit KINDS` lists the installed ones, and that command's help; empty if
            not.
        described: Whether the manifest gives a line of help for each, in a table.
    """

    home: str
    type_name: str
    singular: str
    summary: str
    since: tuple[int, int] = (1, 0)
    lists: str = ""
    described: bool = False

    @property
    def record(self) -> type:
        """Its type, imported when it is first asked for: listing plugins needs none."""
        found: type = getattr(
            importlib.import_module(f"moekit.contract.{self.home}"), self.type_name
        )
        return found


RECORD_KINDS: Mapping[str, RecordKind] = {
    "kits": RecordKind(
        home="kits",
        type_name="KitSpec",
        singular="kit",
        summary="Domain kits.",
        lists="List the installed kits.",
    ),
    "experts": RecordKind(
        home="experts",
        type_name="ExpertSpec",
        singular="expert",
        summary="Specialists.",
        lists="List the installed experts, for --expert.",
    ),
    "gates": RecordKind(
        home="experts",
        type_name="GateSpec",
        singular="gate",
        summary="Gating policies.",
        lists="List the installed gates, for --gate and --token-gate.",
    ),
    "token_gates": RecordKind(
        home="experts",
        type_name="TokenGateSpec",
        singular="token-gate",
        summary="What says which tokens of an image are computed. Since API 2.0.",
        since=(2, 0),
        lists="List the installed token gates.",
    ),
    "datasets": RecordKind(
        home="datasets",
        type_name="DatasetSpec",
        singular="dataset",
        summary="Loaders.",
        lists="List the installed loaders, the LOADER of --data.",
    ),
    "metrics": RecordKind(
        home="metrics",
        type_name="MetricSpec",
        singular="metric",
        summary="Metrics.",
        lists="List the installed metrics.",
    ),
    "map_metrics": RecordKind(
        home="metrics",
        type_name="MapMetricSpec",
        singular="map-metric",
        summary="Metrics of maps against masks. Since API 1.2.",
        since=(1, 2),
        lists="List the installed metrics of maps.",
    ),
    "tasks": RecordKind(
        home="tasks",
        type_name="TaskSpec",
        singular="task",
        summary="Kinds of answer. Since API 2.0.",
        since=(2, 0),
        lists="List the installed tasks, for --task.",
    ),
    "health_checks": RecordKind(
        home="commands",
        type_name="HealthCheckSpec",
        singular="health-check",
        summary="Checks that `moekit plugins doctor` runs.",
    ),
    "report_sections": RecordKind(
        home="report",
        type_name="ReportSectionSpec",
        singular="report-section",
        summary="Sections that the reports of certain kits get.",
    ),
    "commands": RecordKind(
        home="commands",
        type_name="CommandSpec",
        singular="command",
        summary="Commands, each with its line in `moekit --help`; a table. Since API 1.1.",
        since=(1, 1),
        described=True,
    ),
}

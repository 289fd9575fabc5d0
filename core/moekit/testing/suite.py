"""The list of checks of one plugin."""

from __future__ import annotations

from collections.abc import Iterator

from moekit.contract.record_kinds import RECORD_KINDS
from moekit.plugins.discovery import Plugin
from moekit.plugins.manifest import Manifest

# Importing them puts their checks into the list.
from moekit.testing import (  # noqa: F401
    command_checks,
    dataset_checks,
    expert_checks,
    gate_checks,
    kit_checks,
    map_metric_checks,
    metric_checks,
    plugin_checks,
    tally_checks,
    task_checks,
    token_gate_checks,
)
from moekit.testing.check import CHECKS, Check
from moekit.testing.subject import Subject, find_plugin

_OF_PLUGIN = ("manifest", "import", "hooks", "disabling")
_OF_RECORDS = {kind.singular: name for name, kind in RECORD_KINDS.items()}


def checks_of(plugin: str | Plugin) -> Iterator[Check]:
    """The checks of a plugin, each of which can be run alone.

    Args:
        plugin: An installed plugin, or its distribution or short name.

    Raises:
        UsageError: No installed plugin has the name.
    """
    found = find_plugin(plugin) if isinstance(plugin, str) else plugin
    subject = Subject(found)
    for kind, record in _things(found.manifest):
        for name, function in CHECKS[kind].items():
            summary = (function.__doc__ or "").splitlines()[0]
            yield Check(kind=kind, record=record, name=name, summary=summary, subject=subject)


def expected_number(plugin: Plugin) -> int:
    """How many checks the plugin's manifest calls for."""
    return sum(len(CHECKS[kind]) for kind, _ in _things(plugin.manifest))


def _things(manifest: Manifest | None) -> Iterator[tuple[str, str]]:
    """What is to be checked, as (kind, name of the record)."""
    for kind in _OF_PLUGIN:
        yield kind, ""
    if manifest is None:
        return
    for kind, provided in _OF_RECORDS.items():
        for name in manifest.provided(provided):
            yield kind, name
    for event in manifest.listens:
        yield "listener", event

"""Activating one plugin: import its hooks, register them alone, collect and check what they return.

Whatever a plugin does wrong, at import or in a hook, becomes a `PluginError` that names it.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import re
from collections.abc import Mapping
from types import ModuleType
from typing import Any, get_args

import pluggy

from moekit.contract import hookspecs
from moekit.contract.record_kinds import RECORD_KINDS
from moekit.errors import PluginError
from moekit.plugins.discovery import Plugin
from moekit.plugins.manifest import NAME, Event, Manifest
from moekit.plugins.settings_kept import import_kept
from moekit.plugins.upgrade import upgraded

EVENTS: tuple[Event, ...] = get_args(Event)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Activated:
    """A plugin whose hooks were imported and asked.

    Attributes:
        records: What they returned, by (kind, short name), such as ("metrics", "auroc").
        manager: The manager in which the plugin is registered alone.
    """

    records: Mapping[tuple[str, str], Any]
    manager: pluggy.PluginManager

    @property
    def listens(self) -> tuple[Event, ...]:
        """The events that it has listeners to."""
        return tuple(
            event
            for event in EVENTS
            if getattr(self.manager.hook, f"moekit_{event}").get_hookimpls()
        )


def activate(plugin: Plugin) -> Activated:
    """Imports a plugin and collects its records.

    Raises:
        PluginError: The plugin cannot be imported, has an unknown hook, raises, returns something
            other than records, or something other than its manifest promises.
    """
    manifest = plugin.manifest
    if manifest is None:
        raise _fault(plugin, plugin.reason, code="plugin/not-usable")
    activated = collect(plugin, _import_hooks(plugin, manifest))
    for kind in RECORD_KINDS:
        _check_promise(plugin, kind, tuple(getattr(manifest.provides, kind)), activated.records)
    if set(activated.listens) != set(manifest.listens):
        raise _fault(
            plugin,
            f"its manifest listens to {sorted(manifest.listens)}, its hooks to "
            f"{sorted(activated.listens)}",
            code="plugin/not-as-declared",
        )
    return activated


def collect(plugin: Plugin, hooks: object) -> Activated:
    """The records of a plugin's hooks.

    Args:
        plugin: Whom an error names.
        hooks: A module or an object that implements hooks.

    Raises:
        PluginError: A hook is unknown, raises, or returns something other than records.
    """
    manager = _register_alone(plugin, hooks)
    records: dict[tuple[str, str], Any] = {}
    for kind, entry in RECORD_KINDS.items():
        for record in _collect(plugin, manager, kind, entry.record):
            if (kind, record.name) in records:
                raise _fault(
                    plugin,
                    f"moekit_{kind} returns {record.name!r} twice",
                    code="plugin/duplicate-name",
                )
            records[kind, record.name] = record
    if plugin.manifest is not None:
        records = {key: upgraded(record, plugin.manifest.api) for key, record in records.items()}
    return Activated(records=records, manager=manager)


def _import_hooks(plugin: Plugin, manifest: Manifest) -> ModuleType:
    try:
        with import_kept():
            return importlib.import_module(manifest.hooks)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plugin may raise anything, SystemExit included
        raise _fault(
            plugin,
            f"importing {manifest.hooks} failed: {_describe(error)}",
            code="plugin/import-failed",
        ) from error


def _register_alone(plugin: Plugin, hooks: object) -> pluggy.PluginManager:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(hooks, name=plugin.distribution)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise _fault(plugin, f"its hooks are refused: {error}", code="plugin/bad-hook") from error
    return manager


def _collect(
    plugin: Plugin, manager: pluggy.PluginManager, kind: str, record_type: type
) -> list[Any]:
    caller = getattr(manager.hook, f"moekit_{kind}")
    records: list[Any] = []
    for implementation in caller.get_hookimpls():
        try:
            with import_kept():
                returned = implementation.function()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # as at import
            raise _fault(
                plugin, f"moekit_{kind} raised {_describe(error)}", code="plugin/hook-failed"
            ) from error
        if not isinstance(returned, list) or not all(
            isinstance(record, record_type) for record in returned
        ):
            raise _fault(
                plugin,
                f"moekit_{kind} must return a list of {record_type.__name__}",
                code="plugin/bad-hook",
            )
        for record in returned:
            if not isinstance(record.name, str) or not re.fullmatch(NAME, record.name):
                raise _fault(
                    plugin,
                    f"moekit_{kind} returns the improper name {record.name!r}",
                    code="plugin/bad-name",
                )
            wrong = wrong_field(record)
            if wrong:
                raise _fault(
                    plugin,
                    f"moekit_{kind}, record {record.name!r}: {wrong}",
                    code="plugin/bad-record",
                )
        records.extend(returned)
    return records


def wrong_field(record: Any) -> str:
    """What is wrong with a record's fields; empty if nothing is."""
    for field in dataclasses.fields(record):
        value, kind = getattr(record, field.name), str(field.type)
        if kind.startswith("tuple["):
            if value is None and kind.endswith("| None"):
                continue
            if not isinstance(value, tuple):
                return f"{field.name} is {value!r}, not a tuple (is a comma missing?)"
            inner = [wrong_field(one) for one in value if dataclasses.is_dataclass(one)]
            if any(inner):
                return f"{field.name}: {next(filter(None, inner))}"
        if kind.startswith("Literal["):
            allowed = ast.literal_eval(kind.removeprefix("Literal"))
            if value not in allowed:
                return f"{field.name} is {value!r}, not one of {', '.join(allowed)}"
    return ""


def _check_promise(
    plugin: Plugin, kind: str, promised: tuple[str, ...], records: Mapping[tuple[str, str], Any]
) -> None:
    returned = {name for record_kind, name in records if record_kind == kind}
    if returned != set(promised):
        raise _fault(
            plugin,
            f"the {kind} of its manifest are {sorted(promised)}, those of its hook "
            f"{sorted(returned)}{'' if returned else ' (is it marked with @moekit.hookimpl?)'}",
            code="plugin/not-as-declared",
        )


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _fault(plugin: Plugin, what: str, *, code: str) -> PluginError:
    return PluginError(
        f"the plugin cannot be used: {what}",
        whose=f"{plugin.distribution} {plugin.version}",
        fix=f"replace or uninstall it, or set MOEKIT_DISABLE_PLUGINS={plugin.distribution}; "
        "everything else works without it",
        code=code,
    )

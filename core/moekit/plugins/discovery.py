"""Finding plugins without importing them: entry points name manifests, manifests name the rest."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import importlib.util
from collections.abc import Iterable, Mapping
from importlib.metadata import Distribution
from pathlib import Path

from moekit.files import read_plain
from moekit.plugins.entry_points import (
    LARGEST_MANIFEST,
    UNKNOWN,
    distributions,
    entries_of,
    manifest_path,
    name_of,
    version_of,
)
from moekit.plugins.manifest import API_VERSION, Manifest, is_compatible, parse_manifest
from moekit.plugins.settings import canonical, switched_off
from moekit.text import printable

_LONGEST_REASON = 500


class State(enum.StrEnum):
    """What became of a plugin."""

    ACTIVE = "active"
    DISABLED = "disabled"
    INVALID = "invalid"
    INCOMPATIBLE = "incompatible"
    MISSING_DEPS = "missing-deps"
    CONFLICT = "conflict"
    BROKEN = "broken"


@dataclasses.dataclass(kw_only=True)
class Plugin:
    """One installed plugin.

    Attributes:
        distribution: Name of the distribution that brings it.
        version: Version of the distribution.
        entry: Name of its entry point.
        manifest: None if it could not be read.
        manifest_sha256: Hash of the manifest's bytes; empty if it could not be found.
        folder: Where the manifest lies; None if it could not be found.
        state: What became of it.
        reason: Why it is not active, and what to do; empty for an active plugin.
    """

    distribution: str
    version: str
    entry: str
    manifest: Manifest | None = None
    manifest_sha256: str = ""
    folder: Path | None = None
    state: State = State.ACTIVE
    reason: str = ""

    def fail(self, state: State, reason: str) -> None:
        """Records why the plugin cannot be used, on one line of bounded length."""
        self.state, self.reason = state, printable(reason, most=_LONGEST_REASON)


def discover(disabled: Iterable[str] = ()) -> list[Plugin]:
    """All installed plugins, sorted by distribution and entry point. No plugin is imported.

    Args:
        disabled: Names of distributions that are not to be used, next to those that the environment
            or the settings switch off (see `moekit.plugins.settings`).
    """
    off = {**switched_off(), **{canonical(name): "this call" for name in disabled}}
    plugins = [
        plugin for distribution in distributions() for plugin in _plugins_of(distribution, off)
    ]
    plugins.sort(key=lambda plugin: (plugin.distribution, plugin.entry))
    _mark_conflicts(plugins)
    return plugins


def named(name: str) -> list[Plugin]:
    """The installed plugins of a distribution, an entry point or a short name; none if empty."""
    return [
        plugin
        for plugin in discover()
        if canonical(name) == canonical(plugin.distribution)
        or name in (plugin.entry, plugin.manifest.name if plugin.manifest else plugin.entry)
    ]


def _plugins_of(distribution: Distribution, off: Mapping[str, str]) -> list[Plugin]:
    def plugin_of(entry: str) -> Plugin:
        return Plugin(
            distribution=name_of(distribution),
            version=version_of(distribution),
            entry=entry,
        )

    try:
        entries = entries_of(distribution)
    except ValueError as error:
        damaged = plugin_of(UNKNOWN)
        damaged.fail(State.INVALID, f"its entry_points.txt is damaged; reinstall it ({error})")
        return [damaged]
    return [_read(plugin_of(name), value, off) for name, value in entries]


def _read(plugin: Plugin, value: str, off: Mapping[str, str]) -> Plugin:
    _read_manifest(plugin, value)
    by = off.get(canonical(plugin.distribution))
    if by is not None:
        plugin.fail(State.DISABLED, f"switched off by {by}")
    elif plugin.manifest is not None:
        _judge(plugin, plugin.manifest)
    return plugin


def _read_manifest(plugin: Plugin, value: str) -> None:
    path = manifest_path(value)
    if path is None:
        plugin.fail(State.INVALID, f"its manifest {value} is not in the package; reinstall it")
        return
    plugin.folder = path.parent
    try:
        text = read_plain(path, most=LARGEST_MANIFEST)
        plugin.manifest_sha256 = hashlib.sha256(text).hexdigest()
        plugin.manifest = parse_manifest(text.decode("utf-8"))
    except (OSError, ValueError) as error:
        why = printable(getattr(error, "strerror", None) or str(error), most=_LONGEST_REASON - 60)
        plugin.fail(State.INVALID, f"its plugin.toml is refused ({why}); correct it")


def _judge(plugin: Plugin, manifest: Manifest) -> None:
    if not is_compatible(manifest.api):
        plugin.fail(
            State.INCOMPATIBLE,
            f"it is made for plugin API {manifest.api}, moekit has {API_VERSION}; "
            "install a release of it or of moekit that fits",
        )
    else:
        missing = [need for need in manifest.requires if not _can_import(need.module)]
        if missing:
            names = ", ".join(need.module for need in missing)
            plugin.fail(State.MISSING_DEPS, f"it needs {names}: {missing[0].install}")


def _can_import(module: str) -> bool:
    try:
        return importlib.util.find_spec(module.partition(".")[0]) is not None
    except Exception:  # a folder that cannot be read, a name that no module has, a broken finder
        return False


def _mark_conflicts(plugins: list[Plugin]) -> None:
    """Two entries of one qualified name: neither is used, since either choice would be a guess."""
    claims: dict[tuple[str, str], list[Plugin]] = {}
    for plugin in plugins:
        if plugin.state is State.ACTIVE and plugin.manifest:
            for claim in sorted(_claims(plugin.manifest)):
                claims.setdefault((plugin.distribution, claim), []).append(plugin)
    for (distribution, claim), twins in claims.items():
        if len(twins) > 1:
            for plugin in twins:
                plugin.fail(
                    State.CONFLICT,
                    f"{distribution} registers the {claim} {len(twins)} times; reinstall it",
                )


def _claims(manifest: Manifest) -> set[str]:
    """What must be unique in a distribution: the plugin's name and each name that it provides."""
    provided = {f"{kind[:-1]} {name}" for kind, names in manifest.provides for name in names}
    return {f"plugin {manifest.name}", *provided}

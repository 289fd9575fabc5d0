"""The lock: which plugins, of which bytes, a result was made with; no addresses in it."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pydantic
from pydantic import BaseModel, ConfigDict

from moekit.errors import DataError
from moekit.files import sha256
from moekit.plugins.discovery import Plugin
from moekit.plugins.manifest import API_VERSION
from moekit.plugins.settings import canonical
from moekit.sealed import read_sealed
from moekit.text import first_line

SCHEMA = 1


class LockedWeights(BaseModel):
    """One file of weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str
    sha256: str


class LockedPlugin(BaseModel):
    """One plugin as it was."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    distribution: str
    version: str
    manifest_sha256: str
    code_sha256: str = ""
    weights: tuple[LockedWeights, ...] = ()


def lock_plugin(plugin: Plugin) -> LockedPlugin:
    """A plugin as it is now. The weights' hashes are those of the files, not of the manifest."""
    declared = plugin.manifest.weights if plugin.manifest else ()
    return LockedPlugin(
        name=_name(plugin),
        distribution=plugin.distribution,
        version=plugin.version,
        manifest_sha256=plugin.manifest_sha256,
        code_sha256=_code(plugin.folder),
        weights=tuple(
            LockedWeights(file=entry.file, sha256=_hash(plugin.folder, entry.file))
            for entry in declared
        ),
    )


def lock(plugins: Iterable[Plugin]) -> dict[str, Any]:
    """The lock of plugins, as JSON."""
    return {
        "schema": SCHEMA,
        "moekit": importlib.metadata.version("moekit"),
        "api": API_VERSION,
        "plugins": [lock_plugin(plugin).model_dump() for plugin in plugins],
    }


def read_lock(path: Path) -> list[LockedPlugin]:
    """The plugins of a lock, of a run.json or of a result.json.

    Raises:
        DataError: The file is missing, damaged or edited, or holds no plugins.
    """
    if not path.is_file():
        raise DataError(
            "there is no such file",
            whose=str(path),
            fix="name a lock of `moekit plugins lock`, a run.json or a result.json",
            code="data/not-found",
        )
    content = read_sealed(path)
    entries = content.get("plugins") if isinstance(content, dict) else None
    try:
        if not isinstance(entries, list):
            raise TypeError('there is no list "plugins" in it')
        return [LockedPlugin.model_validate(entry) for entry in entries]
    except (TypeError, pydantic.ValidationError) as error:
        raise DataError(
            f"the file names no plugins ({first_line(error)})",
            whose=str(path),
            fix="name a lock of `moekit plugins lock`, a run.json or a result.json",
            code="data/bad-lock",
        ) from error


def differences(locked: Iterable[LockedPlugin], plugins: Sequence[Plugin]) -> Iterator[str]:
    """What differs between a lock and the installed plugins, one sentence each.

    Plugins that the lock does not name are no difference: they cannot have had a part in it.
    """
    installed = {(canonical(plugin.distribution), _name(plugin)): plugin for plugin in plugins}
    for was in locked:
        plugin = installed.get((canonical(was.distribution), was.name)) or _only(was, plugins)
        if plugin is None:
            yield f"{was.distribution} {was.version} is not installed"
            continue
        yield from _changes(was, lock_plugin(plugin), plugin)


def _name(plugin: Plugin) -> str:
    return plugin.manifest.name if plugin.manifest else plugin.entry


def _only(was: LockedPlugin, plugins: Sequence[Plugin]) -> Plugin | None:
    """The one plugin of the distribution whose manifest does not say its name any more."""
    same = [
        plugin
        for plugin in plugins
        if canonical(plugin.distribution) == canonical(was.distribution) and not plugin.manifest
    ]
    return same[0] if len(same) == 1 else None


def _changes(was: LockedPlugin, now: LockedPlugin, plugin: Plugin) -> Iterator[str]:
    if plugin.state.value != "active":
        yield f"{was.distribution} is {plugin.state.value}: {plugin.reason}"
    if was.version != now.version:
        yield f"{was.distribution} was {was.version} and is {now.version}"
    elif was.manifest_sha256 != now.manifest_sha256:
        yield f"{was.distribution} {was.version} has another manifest"
    elif was.code_sha256 != now.code_sha256:
        yield f"{was.distribution} {was.version} has other code"
    hashes: Mapping[str, str] = {entry.file: entry.sha256 for entry in now.weights}
    for entry in was.weights:
        if hashes.get(entry.file) != entry.sha256:
            yield f"{was.distribution} has other weights in {entry.file}"


def _code(folder: Path | None) -> str:
    """One hash of all Python files below the manifest's folder, names included."""
    if folder is None:
        return ""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        digest.update(_read(path).encode())
    return digest.hexdigest()


def _hash(folder: Path | None, file: str) -> str:
    path = folder / file if folder is not None else None
    return _read(path) if path is not None and path.is_file() else "missing"


def _read(path: Path) -> str:
    """The hash of a file, or `unreadable`: of one plugin, which must not stop the others."""
    try:
        return sha256(path)
    except OSError:
        return "unreadable"

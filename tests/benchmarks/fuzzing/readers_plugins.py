"""Readers of what plugins and users write of themselves: manifests, metadata, locks, settings."""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
from pathlib import Path
from typing import Any

from moekit.files import read_plain
from moekit.plugins.commands import declared_commands, lines_of_help
from moekit.plugins.discovery import State, discover
from moekit.plugins.entry_points import LARGEST_MANIFEST, glance
from moekit.plugins.lock import differences, lock, read_lock
from moekit.plugins.manifest import parse_manifest
from moekit.plugins.settings import FOLDER_VARIABLE, disabled_by_settings, switch
from tests.benchmarks.fuzzing.reader import Reader, put

_PACKAGE = Path(__file__).parents[3] / "domain_kits/medical/moekit_medical/plugin.toml"
_NAME = "fuzzed_kit"
_INFO = f"{_NAME}-1.0.dist-info"


def _write_package(folder: Path) -> None:
    text = _PACKAGE.read_text(encoding="utf-8").replace("moekit_medical", _NAME)
    put(folder, f"{_NAME}/plugin.toml", text)
    put(folder, f"{_NAME}/__init__.py", "")
    put(folder, f"{_NAME}/hooks.py", "")
    put(folder, f"{_INFO}/entry_points.txt", f"[moekit.plugins]\nfuzzed = {_NAME}:plugin.toml\n")
    metadata = f"Metadata-Version: 2.1\nName: {_NAME}\nVersion: 1.0\nLicense: MIT\n\nWords.\n"
    put(folder, f"{_INFO}/METADATA", metadata)
    put(folder, f"{_INFO}/RECORD", f"{_NAME}/plugin.toml,,\n")


def _read_package(folder: Path, _: Any) -> str:
    before = list(sys.path)
    sys.path[:] = [str(folder)]
    try:
        importlib.metadata.MetadataPathFinder().invalidate_caches()
        sys.path_importer_cache.clear()
        plugins = discover()
        declared = declared_commands(glance())
    finally:
        sys.path[:] = before
    lines_of_help(declared, disabled=set())
    text = json.dumps(lock(plugins))
    assert json.loads(text)["schema"] == 1
    for plugin in plugins:
        assert len(plugin.reason) < 1000, "a reason that fills the screen"
        assert plugin.reason.isprintable(), "a reason that no terminal should show"
    states = {plugin.state for plugin in plugins}
    if not plugins:
        return "not there"
    return "read" if states == {State.ACTIVE} else f"told as {sorted(states)[0]}"


def _write_manifest(folder: Path) -> None:
    put(folder, "plugin.toml", _PACKAGE.read_bytes())


def _read_manifest(folder: Path, _: Any) -> str:
    try:
        text = read_plain(folder / "plugin.toml", most=LARGEST_MANIFEST)  # as discovery does
        parse_manifest(text.decode("utf-8"))
    except (ValueError, OSError):  # what discovery expects and tells
        return "told as invalid"
    return "read"


def _write_lock(folder: Path) -> Any:
    plugins = discover()
    put(folder, "lock.json", json.dumps(lock(plugins)))
    put(folder, "settings/plugins.json", json.dumps({"disabled": ["some-kit", "other"]}))
    return plugins


def _read_lock(folder: Path, plugins: Any) -> None:
    os.environ[FOLDER_VARIABLE] = str(folder / "settings")
    try:
        disabled_by_settings()
        switch("another", on=False)
    finally:
        del os.environ[FOLDER_VARIABLE]
    for line in differences(read_lock(folder / "lock.json"), plugins):
        assert line


READERS = (
    Reader(name="manifest", prepare=_write_manifest, read=_read_manifest),
    Reader(name="installed package", prepare=_write_package, read=_read_package),
    Reader(name="lock and settings", prepare=_write_lock, read=_read_lock),
)

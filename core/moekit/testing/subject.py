"""The plugin under test, with what the checks need of it: records, a probe, a small backbone."""

from __future__ import annotations

import functools
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from moekit.errors import PluginError, UsageError
from moekit.plugins.discovery import Plugin, named
from moekit.plugins.registry import Registry
from moekit.testing.child import child_command, child_environment
from moekit.testing.elsewhere import Elsewhere
from moekit.testing.examples import Examples
from moekit.testing.verdicts import Blocked

PROBE_SECONDS = 120


class Subject:
    """A plugin under test.

    Args:
        plugin: An installed plugin.
    """

    def __init__(self, plugin: Plugin) -> None:
        self.plugin = plugin
        self._elsewhere = Elsewhere()
        self.examples = Examples()

    @functools.cached_property
    def registry(self) -> Registry:
        """All installed plugins, the one under test among them."""
        return Registry(strict=False)

    @functools.cached_property
    def probe(self) -> dict[str, Any]:
        """What importing the plugin did, in a process of its own (see `moekit.plugins.probe`)."""
        return probe(self.plugin)

    def record(self, kind: str, name: str) -> Any:
        """What a hook of the plugin returned.

        Raises:
            Blocked: The plugin cannot be activated.
        """
        if "died" in self.probe:
            raise Blocked(f"its import {self.probe['died']}")
        try:
            own = next(p for p in self.registry.plugins if _key(p) == _key(self.plugin))
            records = self.registry.activated(own).records
        except PluginError as error:
            raise Blocked(error.what) from error
        if (kind, name) not in records:
            raise Blocked(f"its hooks return no {name!r}")
        return records[kind, name]

    def load_elsewhere(self, name: str, path: Path | None) -> list[Any]:
        """What a loader gives in another process, with another order of sets.

        Returns:
            As `moekit.plugins.contents.contents`.

        Raises:
            ConformanceError: The process did not come back with an answer.
        """
        return self._elsewhere.load(f"{self.plugin.distribution}/{name}", path)


def find_plugin(name: str) -> Plugin:
    """An installed plugin by its distribution or short name.

    Raises:
        UsageError: There is none, or several.
    """
    found = named(name)
    if len(found) != 1:
        known = ", ".join(f"{plugin.distribution} ({plugin.entry})" for plugin in found)
        raise UsageError(
            f"{len(found) or 'no'} plugins have the name {name!r}",
            whose=name,
            fix=f"name one of {known}" if known else "see `moekit plugins list`",
            code="usage/ambiguous-name" if found else "usage/unknown-name",
        )
    return found[0]


def probe(plugin: Plugin) -> dict[str, Any]:
    """Imports a plugin in a process of its own and reports what happened.

    Returns:
        What `moekit.plugins.probe` prints, or {"died": how} if the process did not come back.
    """
    answer = _ask("-m", "moekit.plugins.probe", plugin.distribution, plugin.entry)
    if isinstance(answer, str):
        return {"died": answer}
    found: dict[str, Any] = answer
    return found


def _ask(*arguments: str) -> Any:
    """The JSON that another Python writes to the file named last, or how it ended without."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        try:
            done = subprocess.run(  # noqa: S603 - this interpreter, with arguments of our own
                child_command(*arguments, str(answer)),
                env=child_environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=PROBE_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"did not end within {PROBE_SECONDS} s"
        if answer.is_file():
            return json.loads(answer.read_text(encoding="utf-8"))
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        return f"ended its process with code {done.returncode}{f' ({said[-1]})' if said else ''}"


def _key(plugin: Plugin) -> tuple[str, str]:
    return plugin.distribution, plugin.entry

"""Telling plugins of runs, one listener at a time, each under guard."""

from __future__ import annotations

import copy
import dataclasses
import sys
from collections.abc import Callable

from moekit.contract.report import RunEvent
from moekit.errors import PluginError
from moekit.plugins.activation import Activated
from moekit.plugins.discovery import Plugin
from moekit.plugins.guard import guarded
from moekit.plugins.kept_files import Changes, KeptFiles
from moekit.plugins.manifest import Event
from moekit.text import few, printable

_NAMED = 5


def tell(
    plugin: Plugin,
    activate: Callable[[], Activated],
    event: Event,
    about: RunEvent,
    kept: KeptFiles | None,
) -> None:
    """Calls a plugin's listeners to one event; the process and the run stay what they were.

    What a listener prints goes to standard error, with the name of its plugin.

    Args:
        plugin: Whom an error names.
        activate: Gives its hooks.
        event: `run_started` or `run_finished`.
        about: The run.
        kept: The run's files as they must stay; None if they cannot be kept.

    Raises:
        PluginError: A listener raised, wanted to end the program, or changed files of the run.
    """
    fault: PluginError | None = None
    with guarded() as caught:
        try:
            hooks = getattr(activate().manager.hook, f"moekit_{event}").get_hookimpls()
            for implementation in hooks:
                # Its own copy: what it writes into the record reaches no result.
                mine = dataclasses.replace(about, record=copy.deepcopy(dict(about.record)))
                given = {"event": mine} if "event" in implementation.argnames else {}
                implementation.function(**given)
        except (KeyboardInterrupt, PluginError):
            raise
        except BaseException as error:  # a plugin may raise anything, SystemExit included
            said = f": {error}" if str(error) else ""
            fault = _fault(
                f"a listener failed: moekit_{event} raised {type(error).__name__}{said}; the run "
                "is whole",
                plugin,
                code="plugin/listener-failed",
            )
            fault.__cause__ = error
    for line in caught.lines():
        sys.stderr.write(f"{printable(plugin.distribution)} says: {line}\n")
    changes = Changes(restored=(), lost=()) if kept is None else kept.restore()
    if changes:
        raise _fault(
            f"a listener changed the run: {_in_words(changes)}",
            plugin,
            code="plugin/listener-changed-run",
        ) from fault
    if fault is not None:
        raise fault


def _in_words(changes: Changes) -> str:
    parts = []
    if changes.restored:
        parts.append(f"it changed {few(changes.restored, _NAMED)}, which was undone")
    if changes.lost:
        parts.append(f"it changed {few(changes.lost, _NAMED)} for good")
    return "; ".join(parts)


def _fault(what: str, plugin: Plugin, *, code: str) -> PluginError:
    return PluginError(
        what,
        whose=f"{plugin.distribution} {plugin.version}",
        fix=f"report it to its authors, or `moekit plugins disable {plugin.distribution}`",
        code=code,
    )

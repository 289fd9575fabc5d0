"""Run folders and the facts that their results carry.

The names below are public. Each is imported when it is first used, so that importing the package
imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moekit.lazy import getter

if TYPE_CHECKING:
    from moekit.runs.facts import machine, now, plugin_facts, versions
    from moekit.runs.licences import licences_of_run
    from moekit.runs.run import Run

_HOMES = {
    "runs.facts": (
        "machine",
        "now",
        "plugin_facts",
        "versions",
    ),
    "runs.licences": ("licences_of_run",),
    "runs.run": ("Run",),
}

__all__ = [
    "Run",
    "licences_of_run",
    "machine",
    "now",
    "plugin_facts",
    "versions",
]

if not TYPE_CHECKING:
    __getattr__ = getter(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)

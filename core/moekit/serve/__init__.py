"""The HTTP service: several kits on one backbone.

The names below are public; they need the extra `serve`. Each is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moekit.lazy import getter

if TYPE_CHECKING:
    from moekit.serve.facts import named_runs
    from moekit.serve.options import ServeOptions
    from moekit.serve.server import open_app

_HOMES = {
    "serve.facts": ("named_runs",),
    "serve.options": ("ServeOptions",),
    "serve.server": ("open_app",),
}

__all__ = [
    "ServeOptions",
    "named_runs",
    "open_app",
]

if not TYPE_CHECKING:
    __getattr__ = getter(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)

"""What a program calls: adapt, evaluate, predict, watch and export, by the names of kits.

The names below are public. Each is imported when it is first used, so that importing the package
imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moekit.lazy import getter

if TYPE_CHECKING:
    from moekit.jobs.session import load_licensed, open_backbone, quiet_libraries

_HOMES = {
    "jobs.session": (
        "load_licensed",
        "open_backbone",
        "quiet_libraries",
    ),
}

__all__ = [
    "load_licensed",
    "open_backbone",
    "quiet_libraries",
]

if not TYPE_CHECKING:
    __getattr__ = getter(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)

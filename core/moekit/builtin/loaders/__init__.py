"""The loaders of labelled images that moekit itself provides.

The names below are public. Each is imported when it is first used, so that importing the package
imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moekit.lazy import getter

if TYPE_CHECKING:
    from moekit.builtin.loaders.labels import NEGATIVE_NAMES, two_classes
    from moekit.builtin.loaders.table import path_in, read_rows

_HOMES = {
    "builtin.loaders.labels": (
        "NEGATIVE_NAMES",
        "two_classes",
    ),
    "builtin.loaders.table": (
        "path_in",
        "read_rows",
    ),
}

__all__ = [
    "NEGATIVE_NAMES",
    "path_in",
    "read_rows",
    "two_classes",
]

if not TYPE_CHECKING:
    __getattr__ = getter(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)

"""The loaders of labelled images that moekit itself provides.

The names below are public. Each is imported when it is first used, so that importing the package
imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moekit.lazy import getter

if TYPE_CHECKING:
    from moekit.builtin.loaders.finish import FINISH_OPTIONS, finish_dataset, keep_shots, shots_of
    from moekit.builtin.loaders.labels import NEGATIVE_NAMES, is_negative_name
    from moekit.builtin.loaders.pictures import KEY_DIGITS, stored_pictures
    from moekit.builtin.loaders.rows import (
        parse_table,
        path_in,
        read_header,
        read_rows,
        split_in,
        unread_columns,
    )

_HOMES = {
    "builtin.loaders.finish": (
        "FINISH_OPTIONS",
        "finish_dataset",
        "keep_shots",
        "shots_of",
    ),
    "builtin.loaders.labels": (
        "NEGATIVE_NAMES",
        "is_negative_name",
    ),
    "builtin.loaders.pictures": (
        "KEY_DIGITS",
        "stored_pictures",
    ),
    "builtin.loaders.rows": (
        "parse_table",
        "path_in",
        "read_header",
        "read_rows",
        "split_in",
        "unread_columns",
    ),
}

__all__ = [
    "FINISH_OPTIONS",
    "KEY_DIGITS",
    "NEGATIVE_NAMES",
    "finish_dataset",
    "is_negative_name",
    "keep_shots",
    "parse_table",
    "path_in",
    "read_header",
    "read_rows",
    "shots_of",
    "split_in",
    "stored_pictures",
    "unread_columns",
]

if not TYPE_CHECKING:
    __getattr__ = getter(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)

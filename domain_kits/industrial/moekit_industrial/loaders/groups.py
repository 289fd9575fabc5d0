"""Tables that say which images show one part, such as one tile under several exposures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from moekit import DataError
from moekit.builtin.loaders import path_in, read_header, read_rows
from moekit.data import relative_id

INDEX = "index.csv"
COLUMNS = ("tile_group", "group")


def read_groups(table: Path, *, prefix: str = "") -> Mapping[str, str]:
    """The group of each image that a table names, by the image's id.

    Args:
        table: A CSV with the columns path and tile_group or group.
        prefix: What ids and groups begin with.

    Raises:
        DataError: The table cannot be read, has no such column, or a line is wrong.
    """
    groups: dict[str, str] = {}
    for line, row in read_rows(table, needed=("path",), known=("path", *COLUMNS)):
        column = next((name for name in COLUMNS if name in row), None)
        if column is None:
            raise DataError(
                "the table has no column of groups",
                whose=f"{table}, line 1",
                fix=f"name it {' or '.join(COLUMNS)}",
                code="data/bad-header",
            )
        name = prefix + relative_id(path_in(table, line, row["path"]), table.parent)
        if name in groups or not row[column]:
            fault = "its image is listed twice" if name in groups else f"it has no {column}"
            raise DataError(
                f"the line cannot be used: {fault}",
                whose=f"{table}, line {line}",
                fix="correct that line",
                code="data/duplicate-id" if name in groups else "data/empty-cell",
            )
        groups[name] = prefix + row[column]
    return groups


def has_groups(folder: Path) -> bool:
    """Whether a product brings an index.csv with a column of groups."""
    columns = read_header(folder / INDEX)
    return "path" in columns and any(name in columns for name in COLUMNS)

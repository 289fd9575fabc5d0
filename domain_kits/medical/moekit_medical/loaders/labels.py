"""labels.csv of the loaders: rows, labels, splits and the groups that may not be torn apart.

Messages name rows by their line and never repeat a cell: cells may hold names.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from moekit import DataError
from moekit.builtin.loaders import parse_table
from moekit.data import SPLITS, path_as_stored

TABLE = "labels.csv"
CLASSES = ("other", "nodule")
NO_SPLIT = f"its split is none of {', '.join(SPLITS)}"
DROPPED = "its split is drop"
_LABELS = {"0": 0, "other": 0, "1": 1, "nodule": 1}
_LARGEST = 200 * 2**20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table.

    Attributes:
        line: Its number in the file, from 1.
        cells: Its cells by column, stripped; column names in lower case.
        label: Index into `CLASSES`.
    """

    line: int
    cells: Mapping[str, str]
    label: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """The rows, in their order in the file.

    Attributes:
        columns: Names of the columns.
        rows: At least one.
        salt: SHA-256 of the file, for tokens that are the same on every machine.
    """

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    salt: bytes

    @property
    def name(self) -> str:
        """The first 12 digits of the file's SHA-256, which name the set."""
        return self.salt.hex()[:12]


def read_labels(folder: Path, *, needed: Sequence[str], labelled: bool = True) -> Table:
    """Reads `labels.csv` in a folder: UTF-8, a header, commas or semicolons.

    Args:
        folder: Where it lies.
        needed: Columns that must be there and filled; the column label is one of them if lines are
            labelled.
        labelled: Whether each line has a label. Without one it is about a lesion.

    Raises:
        DataError: It is missing, damaged, empty or holds a line that cannot be meant.
    """
    needed = (*needed, "label") if labelled else tuple(needed)
    header = ",".join(needed)
    content = _read(folder, header)
    columns, lines = _parse(content, needed, header)
    rows = []
    for line, cells in lines:
        empty = [name for name in needed if not cells[name]]
        if empty:
            raise fault(line, f"it has no {empty[0]}", code="data/empty-cell")
        label = _LABELS.get(cells["label"].lower()) if labelled else 1
        if label is None:
            raise fault(
                line, f"the label is none of {', '.join(_LABELS)}", code="data/unknown-class"
            )
        rows.append(Row(line=line, cells=cells, label=label))
    if not rows:
        raise DataError(
            "the table has no lines",
            whose=TABLE,
            fix=f"add lines below {header}",
            code="data/no-image",
        )
    salt = hashlib.sha256(content).digest()
    return Table(columns=columns, rows=tuple(rows), salt=salt)


def fault(line: int, what: str, *, code: str) -> DataError:
    """The error of a line that cannot be used."""
    return DataError(
        f"the line cannot be used: {what}",
        whose=f"{TABLE}, line {line}",
        fix="correct that line",
        code=code,
    )


def file_in(folder: Path, row: Row, column: str) -> Path:
    """The file that a cell names.

    Raises:
        DataError: The name leaves the folder.
    """
    name = PurePosixPath(row.cells[column].replace("\\", "/"))
    if not name.parts or name.is_absolute() or ".." in name.parts or ":" in name.parts[0]:
        raise fault(row.line, f"the path in {column} leaves the folder", code="data/bad-path")
    if "\0" in row.cells[column]:
        raise fault(row.line, f"the path in {column} holds a null character", code="data/bad-path")
    return path_as_stored(folder, name)


def numbers(row: Row, names: Sequence[str]) -> tuple[float, ...] | None:
    """The finite numbers in some columns; None if none of them is filled.

    Raises:
        DataError: Some are empty, or one is not a finite number of at most 1e6.
    """
    cells = [row.cells.get(name, "") for name in names]
    if not any(cells):
        return None
    try:
        values = tuple(float(cell) for cell in cells)
    except ValueError:
        values = ()
    if not values or not all(abs(value) <= 1e6 for value in values):
        raise fault(
            row.line, f"{', '.join(names)} are not {len(names)} numbers", code="data/bad-value"
        )
    return values


def split_problem(row: Row, column: str | None) -> str | None:
    """Why a row is left out for its split, or None."""
    if column is None or row.cells[column].lower() in SPLITS:
        return None
    return DROPPED if row.cells[column].lower() == "drop" else NO_SPLIT


def split_of(row: Row, column: str | None) -> str | None:
    """The split of a row without a `split_problem`; None if there is no column."""
    return None if column is None else row.cells[column].lower()


def group_columns(table: Table, names: Collection[str]) -> tuple[str, ...]:
    """The columns of `names` that the table has and fills.

    Raises:
        DataError: Only some lines fill one, which says nothing certain about the others.
    """
    present = []
    for name in names:
        empty = [row.line for row in table.rows if not row.cells.get(name)]
        if not empty:
            present.append(name)
        elif len(empty) < len(table.rows):
            raise DataError(
                f"{len(empty)} lines have no {name}, such as line {empty[0]}; the others have one",
                whose=TABLE,
                fix=f"fill the column {name} in each line, or remove it",
                code="data/half-filled",
            )
    return tuple(present)


def join_groups(links: Iterable[tuple[int, Sequence[tuple[str, str]]]]) -> dict[int, str]:
    """Groups of lines that share anything: whoever shares a scan shares the patient too.

    Args:
        links: For each line what it belongs to, as pairs of a kind (such as patient) and an
            identifier of it.

    Returns:
        The group of each line that belongs to anything, named for its first one: "patient of line
        3". The names repeat no identifier.
    """
    parent: dict[tuple[str, str], tuple[str, str]] = {}

    def root(node: tuple[str, str]) -> tuple[str, str]:
        while parent.setdefault(node, node) != node:
            parent[node] = node = parent[parent[node]]
        return node

    linked = [(line, nodes) for line, nodes in links if nodes]
    for _, nodes in linked:
        for node in nodes[1:]:
            parent[root(node)] = root(nodes[0])
    names: dict[tuple[str, str], str] = {}
    return {
        line: names.setdefault(root(nodes[0]), f"{nodes[0][0]} of line {line}")
        for line, nodes in linked
    }


def _read(folder: Path, header: str) -> bytes:
    path = folder / TABLE
    try:
        if path.exists() and not path.is_file():
            raise DataError(
                "the table is not a file",
                whose=TABLE,
                fix="put a CSV in its place",
                code="data/not-a-file",
            )
        if path.stat().st_size > _LARGEST:
            raise DataError(
                "the table is larger than 200 MiB",
                whose=TABLE,
                fix="split it into parts",
                code="data/too-large",
            )
        return path.read_bytes()
    except OSError as error:
        raise DataError(
            f"the table cannot be read ({error.strerror or type(error).__name__})",
            whose=TABLE,
            fix=f"name a folder with a CSV of this name, with the columns {header}",
            code="data/unreadable",
        ) from None


def _parse(
    content: bytes, needed: Sequence[str], header: str
) -> tuple[tuple[str, ...], list[tuple[int, Mapping[str, str]]]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"the table is not UTF-8 (byte {error.start})",
            whose=TABLE,
            fix=f"save it as CSV in UTF-8, with the columns {header}",
            code="data/unreadable",
        ) from None
    columns, rows = parse_table(text, table=TABLE, needed=needed, known=(header,))
    return columns, list(rows)

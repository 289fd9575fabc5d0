"""The lines of a CSV, whatever a spreadsheet has made of it.

Cells are text in Unicode form NFC, so that no class or group is two by how its umlauts are stored.
A byte order mark, a first line such as `sep=;`, empty lines, and columns that have neither a name
nor content are passed over. The delimiter is a comma, a semicolon or a tab.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from moekit.data.options import composed, path_as_stored
from moekit.data.samples import SPLITS, Sample, split_name
from moekit.errors import DataError
from moekit.files import check_plain, read_text
from moekit.text import many

_CORRECT = "correct that line"
_LARGEST = 200 * 2**20
_DELIMITERS = (",", ";", "\t")
_SEPARATOR = re.compile(r'^\s*"?sep=(\t|[^\s"])"?[\s,;]*$', re.IGNORECASE)
_HEAD = 2**16
"""Bytes in which the header is looked for, if nothing but the header is asked for."""


def read_header(table: Path) -> tuple[str, ...]:
    """The names of a table's columns, in lower case; empty if there is no such line.

    Never raises: `read_rows` says what is wrong.
    """
    try:
        check_plain(table)
        with table.open(encoding="utf-8-sig", errors="replace") as file:
            text = file.read(_HEAD)
        lines, _ = _lines(text)
        return tuple(composed(name).lower() for name in next(lines)[1] if name)
    except (OSError, ValueError, StopIteration, csv.Error):
        return ()


def read_rows(
    table: Path,
    *,
    needed: Sequence[str],
    known: Sequence[str],
    if_empty: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[tuple[int, Mapping[str, str]]]:
    """The lines of a CSV below its header, with their numbers, each by the names of its columns.

    Args:
        table: The CSV file, UTF-8.
        needed: Columns that there must be; none of their cells may be empty.
        known: Columns that an error names.
        if_empty: By the name of a needed column, what to do about an empty cell.

    Raises:
        DataError: The table cannot be read, or a line is wrong.
    """
    _, rows = parse_table(_read(table, needed), table=table, needed=needed, known=known)
    for number, row in rows:
        empty = [name for name in needed if not row[name]]
        if empty:
            fix = if_empty.get(empty[0], _CORRECT)
            raise fault(table, number, f"it has no {empty[0]}", code="data/empty-cell", fix=fix)
        yield number, row


def parse_table(
    text: str, *, table: Path | str, needed: Sequence[str], known: Sequence[str]
) -> tuple[tuple[str, ...], Iterator[tuple[int, Mapping[str, str]]]]:
    """The columns of a table that was read already, and its rows as of `read_rows`.

    Args:
        text: Of the table.
        table: What errors name.
        needed: Columns that there must be; their cells may be empty.
        known: As of `read_rows`.

    Raises:
        DataError: The header is wrong; the iterator raises it where a line is.
    """
    lines, number = _lines(text)
    try:
        number, names = next(lines, (number, []))
    except csv.Error as error:
        raise fault(table, number, str(error), code="data/bad-line") from error
    columns = [composed(name).lower() for name in names]
    _check_header(columns, table, number, needed, known)

    def rows() -> Iterator[tuple[int, Mapping[str, str]]]:
        last = number
        try:
            for line, cells in lines:
                last = line
                yield line, _row(columns, cells, table, line)
        except csv.Error as error:
            raise fault(table, last + 1, str(error), code="data/bad-line") from error

    return tuple(filter(None, columns)), rows()


def path_in(table: Path, line: int, text: str) -> Path:
    """The path that a line names, below the table's folder, as `path_as_stored` gives it.

    Raises:
        DataError: It is empty or leaves the folder.
    """
    path = PurePosixPath(text.replace("\\", "/"))
    if not path.parts or path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        raise fault(
            table, line, f"the path {text!r} is empty or leaves the folder", code="data/bad-path"
        )
    return path_as_stored(table.parent, path)


def split_in(table: Path, line: int, text: str) -> str:
    """The split that a line names.

    Raises:
        DataError: The name means no split.
    """
    split = split_name(text)
    if split is None:
        raise fault(
            table,
            line,
            f"the split {text!r} is none of {', '.join(SPLITS)}",
            code="data/unknown-split",
        )
    return split


def fault(table: Path | str, line: int, what: str, *, code: str, fix: str = _CORRECT) -> DataError:
    """The error of a line."""
    return DataError(
        f"the line cannot be used: {what}",
        whose=f"{table}, line {line}",
        fix=fix,
        code=code,
    )


def _read(table: Path, needed: Sequence[str]) -> str:
    try:
        if table.stat().st_size > _LARGEST:
            raise DataError(
                "the table is larger than 200 MiB",
                whose=str(table),
                fix="split it into parts",
                code="data/too-large",
            )
        return read_text(table, encoding="utf-8-sig", most=_LARGEST)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"the table cannot be read ({error})",
            whose=str(table),
            fix=f"save it as CSV in UTF-8, with the columns {','.join(needed)}",
            code="data/unreadable",
        ) from error


def _lines(text: str) -> tuple[Iterator[tuple[int, list[str]]], int]:
    """The lines that hold something, each with its number, and the number of the first line."""
    start, first = text.split("\n", 1)[0], 1
    named = _SEPARATOR.match(start)
    if named:
        text, first = text[len(start) + 1 :], 2
    header = next((line for line in text.split("\n", 100) if line.strip(" \r,;\t")), "")
    delimiter = named[1] if named else max(_DELIMITERS, key=header.count)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)

    def lines() -> Iterator[tuple[int, list[str]]]:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                yield reader.line_num + first - 1, stripped

    return lines(), first


def _check_header(
    columns: Sequence[str],
    table: Path | str,
    line: int,
    needed: Sequence[str],
    known: Sequence[str],
) -> None:
    missing = [name for name in needed if name not in columns]
    twice = [name for name in columns if name and columns.count(name) > 1]
    if missing or twice:
        what = f"no column {missing[0]!r}" if missing else f"the column {twice[0]!r} twice"
        raise DataError(
            f"the table has {what}",
            whose=f"{table}, line {line}",
            fix=f"begin it with a header of {','.join(needed)}; known columns: {', '.join(known)}",
            code="data/bad-header",
        )


def _row(
    columns: Sequence[str], cells: Sequence[str], table: Path | str, line: int
) -> Mapping[str, str]:
    given = len(columns) - next((n for n, name in enumerate(reversed(columns)) if name), 0)
    if len(cells) < given or any(cells[len(columns) :]):
        raise fault(table, line, "it has another number of columns", code="data/row-length")
    row: dict[str, str] = {}
    for name, cell in zip(columns, cells, strict=False):
        if name:
            row[name] = composed(cell)
        elif cell:
            raise fault(
                table, line, "a cell stands in a column without a name", code="data/row-length"
            )
    return row


def unread_columns(header: Sequence[str], known: Collection[str]) -> tuple[str, ...]:
    """A sentence on the columns of a table that are not read, if there are any."""
    other = [name for name in header if name not in known]
    return (f"columns of the table that are not read: {', '.join(other)}",) if other else ()


def check_once(name: str, line: int, lines: dict[str, int], table: Path) -> None:
    """Refuses a line that lists what an earlier line lists; else notes the line.

    Args:
        name: What the line lists.
        line: Its number.
        lines: The numbers of the lines so far, by what they list.
        table: The file.

    Raises:
        DataError: It is listed already; both lines are named.
    """
    if name in lines:
        what = f"{name} is listed in line {lines[name]} already"
        raise fault(table, line, what, code="data/duplicate-id")
    lines[name] = line


def check_filled(samples: Sequence[Sample], table: Path) -> None:
    """Refuses a column that only some lines fill, which says nothing certain about the others.

    Args:
        samples: Those that the table names.
        table: The file.

    Raises:
        DataError: Some samples have a split or a group, and others have none.
    """
    for name in ("split", "group"):
        empty = [sample for sample in samples if getattr(sample, name) is None]
        if empty and len(empty) < len(samples):
            raise DataError(
                f"{many(len(empty), 'image has', 'images have')} no {name}, such as "
                f"{empty[0].id}; the others have one",
                whose=str(table),
                fix=f"fill the column {name} in each line, or remove it",
                code="data/half-filled",
            )

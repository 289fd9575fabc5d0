"""Tables that people open: CSV in which no cell is a formula, and which is read back as it was."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from typing import IO, Any

from moekit.text import plain_cell, safe_cell

__all__ = ["CsvWriter", "csv_table"]


class CsvWriter:
    """Writes rows as `csv.writer` does, with cells that no spreadsheet takes for formulas.

    What was written is read again by `csv_table`.

    Args:
        file: A text file that was opened with `newline=""`.
    """

    def __init__(self, file: IO[str]) -> None:
        self._writer = csv.writer(file)

    def writerow(self, row: Iterable[Any]) -> None:
        """Writes a row; numbers stay numbers."""
        self._writer.writerow([safe_cell(value) for value in row])

    def writerows(self, rows: Iterable[Iterable[Any]]) -> None:
        """Writes rows."""
        for row in rows:
            self.writerow(row)


def csv_table(file: IO[str], *, strict: bool = False) -> tuple[list[str], list[dict[str, Any]]]:
    """The columns and rows of a table that `CsvWriter` wrote.

    Args:
        file: A text file that was opened with `newline=""`.
        strict: As of `csv.reader`.

    Returns:
        Names of the columns, and rows as of `csv.DictReader`.
    """
    reader = csv.DictReader(file, strict=strict)
    columns = list(map(plain_cell, reader.fieldnames or ()))
    reader.fieldnames = columns
    rows = [
        {
            name: plain_cell(value) if isinstance(value, str) else value
            for name, value in row.items()
        }
        for row in reader
    ]
    return columns, rows

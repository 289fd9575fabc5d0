"""A peer's answers as a CSV with one line an item.

Shapes: N items.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from moekit.data.samples import Sample
from moekit.errors import DataError
from moekit.files import read_text
from moekit.text import plain_cell

_TABLE = "predictions.csv"
_SEPARATED = re.compile(r'\s*"?id"?\s*([;\t])')
"""A header whose columns are not separated by commas; names of classes may hold semicolons."""


class PeerTable:
    """The table: a header that begins with id, and a line for each item of the split.

    Args:
        path: The CSV file, or a folder with `predictions.csv`.
        columns: What the header is, in words.

    Attributes:
        path: The file.
        header: Names of the columns after id.

    Raises:
        DataError: The file cannot be read, or its first column is not id.
    """

    def __init__(self, path: Path, *, columns: str) -> None:
        self.path = path / _TABLE if path.is_dir() else path
        self._columns = columns
        first, *self._rows = self._lines()
        named = [name.strip() for name in first]
        if not named or named[0] != "id":
            raise self.fault(1, "the first column is not id", code="data/bad-header")
        self.header = named[1:]

    def rows(self, samples: Sequence[Sample]) -> Iterator[tuple[int, int, list[str]]]:
        """The number of each line, the place of its item among the samples, its other cells.

        Raises:
            DataError: An id is unknown, there twice or missing, or a line has another length.
        """
        places = {sample.id: place for place, sample in enumerate(samples)}
        seen_N = np.zeros(len(samples), dtype=bool)
        for line, (name, *cells) in enumerate(self._rows, start=2):
            if len(cells) != len(self.header):
                raise self.fault(line, "it has another number of columns", code="data/row-length")
            if name not in places:
                what = f"the id {name!r} is not in the split"
                raise self.fault(line, what, code="data/unknown-id")
            if seen_N[places[name]]:
                what = f"the id {name!r} is there twice"
                raise self.fault(line, what, code="data/duplicate-id")
            seen_N[places[name]] = True
            yield line, places[name], cells
        missing = np.flatnonzero(~seen_N)
        if len(missing):
            raise DataError(
                f"{len(missing)} of {len(samples)} items have no answer, such as "
                f"{samples[int(missing[0])].id}",
                whose=str(self.path),
                fix="add a line for each item of the split",
                code="data/missing-answer",
            )

    def shares(self, line: int, texts: Sequence[str]) -> np.ndarray:
        """Cells that are probabilities.

        Raises:
            DataError: One is no number from 0 to 1.
        """
        try:
            values = np.array([float(text) for text in texts])
        except ValueError as error:
            what = "a probability is no number"
            raise self.fault(line, what, code="data/bad-value") from error
        if not ((values >= 0) & (values <= 1)).all():
            what = "a probability is not a number from 0 to 1"
            raise self.fault(line, what, code="data/bad-value")
        return values

    def fault(self, line: int, what: str, *, code: str) -> DataError:
        """The error of a line."""
        return DataError(
            f"the line cannot be used: {what}",
            whose=f"{self.path}, line {line}",
            fix=f"correct that line; the header is {self._columns}",
            code=code,
        )

    def _lines(self) -> list[list[str]]:
        try:
            text = io.StringIO(read_text(self.path, encoding="utf-8-sig", newline=""), newline="")
            between = _SEPARATED.match(text.readline())
            text.seek(0)
            rows = csv.reader(text, strict=True, delimiter=between[1] if between else ",")
            lines = [[*map(plain_cell, line)] for line in rows if line]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise DataError(
                f"the answers cannot be read ({error})",
                whose=str(self.path),
                fix=f"give a CSV in UTF-8 with the header {self._columns}",
                code="data/unreadable",
            ) from error
        return lines or [[]]

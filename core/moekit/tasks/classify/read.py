"""Reads answers that a peer wrote: `id,CLASS,CLASS,...` with probabilities, or `id,label`.

Shapes: N items, C classes.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from moekit.contract.answers import TaskContext
from moekit.data.samples import Sample
from moekit.errors import DataError
from moekit.files import read_text
from moekit.tasks.classify.tally import ClassTally, tally_of
from moekit.text import plain_cell

_BETWEEN = "|"
_ROUNDING = 1e-3
"""By how much the probabilities of an item may miss 1."""
_TABLE = "predictions.csv"


def read_answers(path: Path, samples: Sequence[Sample], context: TaskContext) -> ClassTally:
    """A tally of a peer's answers.

    Each sample must have just one line; lines of other ids are an error. Probabilities of items
    with one label are scaled to the sum 1, from which they may differ by rounding. A label becomes
    the probability 1; several have `|` between them.

    Args:
        path: The CSV file, or a folder with `predictions.csv`.
        samples: (N) of the split, in order.
        context: Holds the names of the classes.

    Raises:
        DataError: The file cannot be read, an id is missing, unknown or there twice, a class is
            unknown or missing, or a value is no probability.
    """
    table = path / _TABLE if path.is_dir() else path
    lines = _lines(table)
    header, rows = [name.strip() for name in lines[0]], lines[1:]
    if not header or header[0] != "id":
        raise _fault(table, 1, "the first column is not id", code="data/bad-header")
    places = {sample.id: place for place, sample in enumerate(samples)}
    several = any(sample.labels is not None for sample in samples)
    by_label = header[1:] in (["label"], ["labels"]) and "label" not in context.classes
    order = [] if by_label else _order(table, header[1:], context.classes)
    probability_NC = np.full((len(samples), len(context.classes)), np.nan)
    for line, row in enumerate(rows, start=2):
        place = _place(table, line, row, header, places)
        if not np.isnan(probability_NC[place, 0]):
            raise _fault(table, line, f"the id {row[0]!r} is there twice", code="data/duplicate-id")
        if by_label:
            probability_NC[place] = _one_hot(table, line, row[1], context.classes, several)
        else:
            probability_NC[place, order] = _numbers(table, line, row[1:], several)
    missing = np.flatnonzero(np.isnan(probability_NC[:, 0]))
    if len(missing):
        raise DataError(
            f"{len(missing)} of {len(samples)} items have no answer, such as "
            f"{samples[int(missing[0])].id}",
            whose=str(table),
            fix="add a line for each item of the split",
            code="data/missing-answer",
        )
    return tally_of(samples, context.classes, probability_NC)


def _lines(table: Path) -> list[list[str]]:
    try:
        text = io.StringIO(read_text(table, encoding="utf-8-sig", newline=""), newline="")
        lines = [[*map(plain_cell, line)] for line in csv.reader(text, strict=True) if line]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"the answers cannot be read ({error})",
            whose=str(table),
            fix="give a CSV in UTF-8 with the columns id and one a class, or id,label",
            code="data/unreadable",
        ) from error
    return lines or [[]]


def _order(table: Path, names: Sequence[str], classes: Sequence[str]) -> list[int]:
    unknown = [name for name in names if name not in classes]
    missing = [name for name in classes if name not in names]
    if unknown or missing or len(set(names)) < len(names):
        what = (
            f"the column {unknown[0]!r} is no class"
            if unknown
            else f"there is no column of the class {missing[0]!r}"
            if missing
            else "a class is there twice"
        )
        raise _fault(table, 1, what, code="data/bad-header")
    return [list(classes).index(name) for name in names]


def _place(
    table: Path, line: int, row: Sequence[str], header: Sequence[str], places: dict[str, int]
) -> int:
    if len(row) != len(header):
        raise _fault(table, line, "it has another number of columns", code="data/row-length")
    if row[0] not in places:
        raise _fault(table, line, f"the id {row[0]!r} is not in the split", code="data/unknown-id")
    return places[row[0]]


def _one_hot(
    table: Path, line: int, text: str, classes: Sequence[str], several: bool
) -> np.ndarray:
    names = [name.strip() for name in text.split(_BETWEEN) if name.strip()] if several else [text]
    values = np.zeros(len(classes))
    for name in names:
        if name.strip() not in classes:
            raise _fault(table, line, f"{name!r} is no class", code="data/unknown-class")
        values[list(classes).index(name.strip())] = 1
    return values


def _numbers(table: Path, line: int, texts: Sequence[str], several: bool) -> np.ndarray:
    try:
        values = np.array([float(text) for text in texts])
    except ValueError as error:
        raise _fault(table, line, "a probability is no number", code="data/bad-value") from error
    if not ((values >= 0) & (values <= 1)).all():
        raise _fault(
            table, line, "a probability is not a number from 0 to 1", code="data/bad-value"
        )
    if several:
        return values
    if abs(values.sum() - 1) > _ROUNDING:
        raise _fault(
            table,
            line,
            f"the probabilities sum to {values.sum():g}, not to 1",
            code="data/bad-value",
        )
    scaled: np.ndarray = values / values.sum()
    return scaled


def _fault(table: Path, line: int, what: str, *, code: str) -> DataError:
    return DataError(
        f"the line cannot be used: {what}",
        whose=f"{table}, line {line}",
        fix="correct that line; the header is id and one column a class, or id,label",
        code=code,
    )

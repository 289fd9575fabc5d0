"""Tallies on disk: one CSV a split, whole or absent, with all the digits that a float64 has.

Columns: id, label (or labels, with `|` between), group, subtype, `fact NAME` for each fact,
`p:CLASS` for each class, `unlike` if there is one, and the last two again for the baseline, with
`baseline ` before them. An item of no class has an empty label.

Shapes: N items, C classes.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from moekit.data.samples import UNSEEN
from moekit.errors import DataError
from moekit.files import atomic_text, read_text
from moekit.tables import CsvWriter, csv_table
from moekit.tasks.classify.tally import ClassTally, check_tallies
from moekit.tasks.parts.names import optional_names

_FACT, _PROBABILITY, _UNLIKE, _BASELINE = "fact ", "p:", "unlike", "baseline "
_BETWEEN = "|"
Row = Mapping[str, str]


def save_tallies(folder: Path, stem: str, tallies: Sequence[ClassTally]) -> list[str]:
    """Writes the tallies of a split, the kit's and the baseline's if there is one, into one CSV.

    Args:
        folder: Of the run.
        stem: The file's name without its suffix.
        tallies: One or two, of the same items.

    Returns:
        The name of the file.

    Raises:
        StorageError: It cannot be written.
        DataError: Items have several labels and a class name holds `|`.
    """
    kit = tallies[0]
    if kit.several and any(_BETWEEN in name for name in kit.classes):
        raise DataError(
            f"the name of a class holds {_BETWEEN!r}, which lies between labels",
            whose=f"{stem}.csv",
            fix="rename the class",
            code="data/class-name",
        )
    columns = [_columns(tally, _BASELINE * bool(place)) for place, tally in enumerate(tallies)]
    head = ["id", "labels" if kit.several else "label", "group", "subtype"]
    facts = [f"{_FACT}{name}" for name in kit.facts]
    with atomic_text(folder / f"{stem}.csv") as file:
        writer = CsvWriter(file)
        writer.writerow([*head, *facts, *(name for part in columns for name in part)])
        for row, name in enumerate(kit.ids):
            writer.writerow(
                [
                    name,
                    _label(kit, row),
                    "" if kit.groups is None else kit.groups[row],
                    "" if kit.subtypes is None else kit.subtypes[row],
                    *(values[row] for values in kit.facts.values()),
                    *(repr(float(v)) for part in columns for v in _values(part, row)),
                ]
            )
    return [f"{stem}.csv"]


def _columns(tally: ClassTally, start: str) -> dict[str, np.ndarray]:
    """The (N,) columns of a model by their names."""
    columns = {
        f"{start}{_PROBABILITY}{name}": tally.probability_NC[:, place]
        for place, name in enumerate(tally.classes)
    }
    if tally.unlike_N is not None:
        columns[f"{start}{_UNLIKE}"] = tally.unlike_N
    return columns


def _values(columns: Mapping[str, np.ndarray], row: int) -> list[float]:
    return [values[row] for values in columns.values()]


def _label(tally: ClassTally, row: int) -> str:
    if tally.labels_N is not None:
        label = int(tally.labels_N[row])
        return "" if label == UNSEEN else tally.classes[label]
    assert tally.labels_NC is not None
    return _BETWEEN.join(tally.classes[label] for label in np.flatnonzero(tally.labels_NC[row]))


def load_tallies(folder: Path, stem: str) -> tuple[ClassTally, ...]:
    """Reads what `save_tallies` wrote.

    Returns:
        The kit's tally and, if it is there, the baseline's; none if the file is gone.

    Raises:
        DataError: The file is damaged, a probability is no number in [0, 1], or a label is no
            class.
    """
    path = folder / f"{stem}.csv"
    if not path.exists():
        return ()
    table = _read(path)
    truth = _truth(table, path)
    starts = (
        ["", _BASELINE] if f"{_BASELINE}{_PROBABILITY}{truth.classes[0]}" in table.columns else [""]
    )
    tallies = tuple(_tally(table, truth, start, path) for start in starts)
    try:
        check_tallies(tallies)
    except DataError as error:
        raise _damaged(path, f"{error.what}, such as {error.whose}") from error
    return tallies


class _Table(NamedTuple):
    columns: list[str]
    rows: Sequence[Row]


class _Truth(NamedTuple):
    classes: tuple[str, ...]
    labels_N: np.ndarray | None
    labels_NC: np.ndarray | None


def _read(path: Path) -> _Table:
    try:
        columns, rows = csv_table(io.StringIO(read_text(path, newline=""), newline=""), strict=True)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _damaged(path, f"it cannot be read ({error})") from error
    short = next(
        (place for place, row in enumerate(rows) if None in row or None in row.values()), None
    )
    if short is not None:
        raise _damaged(path, f"line {short + 2} has another number of columns")
    if not {"id", "group", "subtype"} <= set(columns) or len(set(columns)) < len(columns):
        raise _damaged(path, "a column is missing or there twice")
    return _Table(columns, rows)


def _truth(table: _Table, path: Path) -> _Truth:
    classes = tuple(
        name.removeprefix(_PROBABILITY) for name in table.columns if name.startswith(_PROBABILITY)
    )
    one, several = "label" in table.columns, "labels" in table.columns
    if not classes or one == several:
        raise _damaged(path, "it has no classes, or not just one of the columns label and labels")
    number = {name: place for place, name in enumerate(classes)}
    labels_NC = np.zeros((len(table.rows), len(classes)), dtype=np.int64)
    labels_N = np.full(len(table.rows), UNSEEN, dtype=np.int64)
    for place, row in enumerate(table.rows):
        names = [row["label"]] if one else row["labels"].split(_BETWEEN)
        for name in filter(None, names):
            if name not in number:
                raise _damaged(path, f"line {place + 2} has the label {name!r}, which is no class")
            labels_N[place] = number[name]
            labels_NC[place, number[name]] = 1
    return _Truth(classes, labels_N if one else None, labels_NC if several else None)


def _tally(table: _Table, truth: _Truth, start: str, path: Path) -> ClassTally:
    rows = table.rows
    facts = [name for name in table.columns if name.startswith(_FACT)]
    names = [f"{start}{_PROBABILITY}{name}" for name in truth.classes]
    probability_NC = np.stack([_numbers(table, name, path) for name in names], axis=1)
    unlike = f"{start}{_UNLIKE}"
    return ClassTally(
        ids=tuple(row["id"] for row in rows),
        classes=truth.classes,
        probability_NC=probability_NC,
        labels_N=truth.labels_N,
        labels_NC=truth.labels_NC,
        groups=optional_names([row["group"] for row in rows]),
        subtypes=optional_names([row["subtype"] for row in rows]),
        facts={name.removeprefix(_FACT): tuple(row[name] for row in rows) for name in facts},
        unlike_N=_numbers(table, unlike, path) if unlike in table.columns else None,
    )


def _numbers(table: _Table, name: str, path: Path) -> np.ndarray:
    if name not in table.columns:
        raise _damaged(path, f"the column {name!r} is missing")
    try:
        return np.array([float(row[name]) for row in table.rows], dtype=np.float64)
    except ValueError as error:
        raise _damaged(path, f"the column {name!r} holds something else than numbers") from error


def _damaged(path: Path, what: str) -> DataError:
    return DataError(
        f"the answers of this file cannot be used: {what}",
        whose=str(path),
        fix="run `moekit evaluate` again",
        code="data/damaged-run",
    )

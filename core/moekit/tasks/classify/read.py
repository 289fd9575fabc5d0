"""Reads answers that a peer wrote: `id,CLASS,CLASS,...` with probabilities, or `id,label`.

Shapes: N items, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from moekit.contract.answers import TaskContext
from moekit.data.samples import Sample
from moekit.tasks.classify.tally import ClassTally, tally_of
from moekit.tasks.parts.peer_table import PeerTable

_BETWEEN = "|"
_ROUNDING = 1e-3
"""By how much the probabilities of an item may miss 1."""
_COLUMNS = "id and one column a class, or id,label"


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
    table = PeerTable(path, columns=_COLUMNS)
    several = any(sample.labels is not None for sample in samples)
    by_label = table.header in (["label"], ["labels"]) and "label" not in context.classes
    order = [] if by_label else _order(table, context.classes)
    probability_NC = np.full((len(samples), len(context.classes)), np.nan)
    for line, place, cells in table.rows(samples):
        if by_label:
            probability_NC[place] = _one_hot(table, line, cells[0], context.classes, several)
        else:
            probability_NC[place, order] = _numbers(table, line, cells, several)
    return tally_of(samples, context.classes, probability_NC)


def _order(table: PeerTable, classes: Sequence[str]) -> list[int]:
    names = table.header
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
        raise table.fault(1, what, code="data/bad-header")
    return [list(classes).index(name) for name in names]


def _one_hot(
    table: PeerTable, line: int, text: str, classes: Sequence[str], several: bool
) -> np.ndarray:
    names = [name.strip() for name in text.split(_BETWEEN) if name.strip()] if several else [text]
    values = np.zeros(len(classes))
    for name in names:
        if name.strip() not in classes:
            raise table.fault(line, f"{name!r} is no class", code="data/unknown-class")
        values[list(classes).index(name.strip())] = 1
    return values


def _numbers(table: PeerTable, line: int, texts: Sequence[str], several: bool) -> np.ndarray:
    values = table.shares(line, texts)
    if several:
        return values
    if abs(values.sum() - 1) > _ROUNDING:
        what = f"the probabilities sum to {values.sum():g}, not to 1"
        raise table.fault(line, what, code="data/bad-value")
    scaled: np.ndarray = values / values.sum()
    return scaled

"""What a reader of a report can do about classes that the kit confuses or misses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from moekit.contract.report import NEXT, ReportSection
from moekit.tasks.classify.per_class import ClassRow
from moekit.tasks.classify.point import TOP, Chosen
from moekit.tasks.classify.tally import ClassTally
from moekit.text import many

_FEW = 0.9
_DOUBTFUL = "refuse=0.05"


def next_section(
    tally: ClassTally,
    point: Chosen | None,
    rows: Sequence[ClassRow],
    counts: np.ndarray | None = None,
) -> ReportSection:
    """Steps: the two classes that are confused most, the class that is found least, doubt.

    Args:
        tally: Of the evaluated split.
        point: Of the run; None if it is not known.
        rows: How each class is answered.
        counts: The confusions; None of items that may have several labels.
    """
    said = [] if counts is None else _confused(tally.classes, counts)
    if point is not None:
        said += _least(rows)
    if not tally.several and (point is None or point.rule == TOP):
        said.append(
            "To leave unfamiliar items to a person, evaluate again with "
            f"`--threshold-rule {_DOUBTFUL}`: then what looks like no class is answered as none "
            "of these."
        )
    return ReportSection(title=NEXT, paragraphs=tuple(said))


def _confused(classes: Sequence[str], whole: np.ndarray) -> list[str]:
    counts = whole[: len(classes), : len(classes)]
    wrong = counts - np.diag(np.diagonal(counts))
    if not wrong.any():
        return []
    truth, answer = np.unravel_index(int(wrong.argmax()), wrong.shape)
    names = [classes[int(place)] for place in (truth, answer)]
    count, total = int(wrong[truth, answer]), int(counts[truth].sum())
    return [
        f"Look at the {many(count, 'item', 'items')} of {names[0]} that "
        f"{'is' if count == 1 else 'are'} taken for {names[1]} ({count / total:.0%} of "
        f"{names[0]}). Correct wrong labels in the data. If a person cannot tell the two apart in "
        "the picture either, make them one class or take pictures that show the difference."
    ]


def _least(rows: Sequence[ClassRow]) -> list[str]:
    known = [row for row in rows if row.recall is not None]
    least = min(known, key=lambda row: (row.recall, row.name), default=None)
    if least is None or least.recall is None or least.recall > _FEW:
        return []
    return [
        f"Add images of {least.name}: it is found least, {least.recall:.0%} of "
        f"{many(least.n, 'item', 'items')}."
    ]

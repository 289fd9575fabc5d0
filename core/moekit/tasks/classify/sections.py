"""The task's sections of a report.

Shapes: C classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from moekit.contract.report import ReportContext, ReportGrid, ReportSection, ReportTable
from moekit.errors import MoekitError
from moekit.tasks.classify.metrics import unseen_auroc
from moekit.tasks.classify.per_class import ClassRow, Interval, class_rows, confusions
from moekit.tasks.classify.point import TOP, Chosen, choose_point
from moekit.tasks.classify.refusal import refused_rows
from moekit.tasks.classify.steps import next_section
from moekit.tasks.classify.tally import ClassTally
from moekit.text import many

MOST_SHOWN = 25
"""Classes of a confusion matrix; of more the most confused are shown."""
_PAIRS = 10
_ROWS = 100
_REFUSED = 0.05


def class_sections(context: ReportContext) -> Sequence[ReportSection]:
    """Confusions, the classes one by one, items of no class, steps; nothing without tallies."""
    if not context.tallies:
        return ()
    tally: ClassTally = context.tallies[0]
    validation = context.validation_tallies[0] if context.validation_tallies else None
    point = _point(context, validation)
    if tally.several:
        if point is None:
            return ()
        rows = class_rows(tally, point)
        return (_classes_section(rows), next_section(tally, point, rows))
    rows, counts = class_rows(tally, point), confusions(tally, point)
    strange = _unseen_section(tally, validation)
    return (
        _confusion_section(tally, counts),
        _classes_section(rows),
        *([strange] if strange else []),
        next_section(tally, point, rows, counts),
    )


def _point(context: ReportContext, validation: ClassTally | None) -> Chosen | None:
    """The point of the run, chosen again by its rule from the validation tally."""
    said = context.result.get("point") or context.result.get("threshold") or {}
    rule = said.get("rule") if isinstance(said, dict) else None
    if validation is None:
        return None
    for candidate in (rule, TOP):
        try:
            return choose_point(validation, str(candidate))
        except MoekitError:
            continue
    return None


def _confusion_section(tally: ClassTally, counts: np.ndarray) -> ReportSection:
    pairs = _pairs(tally, counts)
    names = [*tally.classes, "none of these"]
    used = np.flatnonzero(counts.sum(0) + counts.sum(1))
    notes = ["Rows are the truth, columns the answers; a cell is its share of the row."]
    if len(used) > MOST_SHOWN:
        counts, names = _folded(counts, names)
        notes.append(
            f"Of {len(tally.classes)} classes the {MOST_SHOWN - 1} that are confused most are "
            "shown; the others stand in one row and one column."
        )
    else:
        counts, names = counts[np.ix_(used, used)], [names[place] for place in used]
    totals = np.maximum(counts.sum(1, keepdims=True), 1)
    grid = ReportGrid(
        columns=tuple(names),
        rows=tuple(names),
        shares=tuple(tuple(row.tolist()) for row in counts / totals),
        cells=tuple(tuple(str(value) for value in row) for row in counts.tolist()),
    )
    table = ReportTable(
        columns=("truth", "answer", "items", "share of the class"),
        rows=pairs or (("none", "", "", ""),),
    )
    return ReportSection(
        title="What is taken for what", grids=(grid,), tables=(table,), notes=tuple(notes)
    )


def _folded(counts: np.ndarray, names: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """The most confused classes, and the others as one."""
    wrong = counts - np.diag(np.diagonal(counts))
    errors = wrong.sum(0) + wrong.sum(1)
    kept = np.sort(np.argsort(-errors, kind="stable")[: MOST_SHOWN - 1])
    home = np.full(len(names), len(kept))
    home[kept] = np.arange(len(kept))
    folded = np.zeros((len(kept) + 1, len(kept) + 1), dtype=np.int64)
    np.add.at(folded, (home[:, None], home[None, :]), counts)
    return folded, [*(names[place] for place in kept), "others"]


def _pairs(tally: ClassTally, counts: np.ndarray) -> tuple[tuple[str, ...], ...]:
    """The most frequent confusions."""
    wrong = counts - np.diag(np.diagonal(counts))
    names = [*tally.classes, "none of these"]
    order = np.argsort(-wrong.flatten(), kind="stable")[:_PAIRS]
    rows = []
    for place in order:
        truth, answer = divmod(int(place), len(names))
        count = int(wrong[truth, answer])
        if count:
            share = count / int(counts[truth].sum())
            rows.append((names[truth], names[answer], str(count), f"{share:.0%}"))
    return tuple(rows)


def _classes_section(found: Sequence[ClassRow]) -> ReportSection:
    rows = sorted(found, key=lambda row: (row.recall is None, row.recall or 0.0, row.name))
    notes = [
        "Intervals are Wilson's, 95%, with the effective number of items if they share groups. "
        "The classes that are found least come first."
    ]
    absent = [row.name for row in rows if not row.n]
    if absent:
        notes.append(f"{many(len(absent), 'class has', 'classes have')} no item in this split.")
    if len(rows) > _ROWS:
        notes.append(f"The first {_ROWS} of {len(rows)} classes are shown.")
    table = ReportTable(
        columns=("class", "items", "recall", "95%", "answers", "precision", "95%"),
        rows=tuple(_cells(row) for row in rows[:_ROWS]),
    )
    return ReportSection(title="Class by class", tables=(table,), notes=tuple(notes))


def _cells(row: ClassRow) -> tuple[str, ...]:
    return (
        row.name,
        str(row.n),
        _percent(row.recall),
        _range(row.recall_ci95),
        str(row.called),
        _percent(row.precision),
        _range(row.precision_ci95),
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _range(interval: Interval | None) -> str:
    return "-" if interval is None else f"{interval[0]:.0%} to {interval[1]:.0%}"


def _unseen_section(tally: ClassTally, validation: ClassTally | None) -> ReportSection | None:
    """What is said of items of no class; None if there is none of them or no score for it."""
    unseen_N = tally.unseen_N
    if unseen_N is None or tally.unlike_N is None or not unseen_N.any():
        return None
    area = unseen_auroc(tally.unlike_N, unseen_N)
    words = [
        f"{int(unseen_N.sum())} of {len(tally)} items are of no class that was trained. The "
        f"open-set score tells them from the others with an AUROC of {area:.3f}."
    ]
    if validation is not None and validation.unlike_N is not None and _has_known(validation):
        point = choose_point(validation, f"refuse={_REFUSED}")
        refused_N = refused_rows(point, tally.unlike_N, len(tally))
        unseen = refused_N[unseen_N == 1].mean()
        known = refused_N[unseen_N == 0]
        lost = f" and {known.mean():.1%} of the items of known classes" if len(known) else ""
        words.append(
            f"If at most {_REFUSED:.0%} of the validation items of known classes are refused, "
            f"{unseen:.1%} of the items of no class are refused here{lost}."
        )
    return ReportSection(title="Items of no class", paragraphs=tuple(words))


def _has_known(tally: ClassTally) -> bool:
    return tally.unseen_N is not None and bool((tally.unseen_N == 0).any())

"""The items that were answered worst, and some that were answered rightly: RUN/overlays."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from moekit.contract.answers import TaskContext
from moekit.contract.tasks import TaskSpec
from moekit.data.pictures import save_jpeg
from moekit.evaluation.split_pass import Passed
from moekit.evaluation.spool import PictureSpool
from moekit.files import write_json

_RIGHT_SHOWN = 6


class Pictured(NamedTuple):
    """Rows of a tally that are drawn, the word for them, and whether they were answered rightly."""

    outcome: str
    rows: np.ndarray
    right: bool


def pictured(tally: Any, point: Any, task: TaskSpec) -> list[Pictured]:
    """What is drawn of a split: the worst mistakes, then right answers of every degree.

    Right answers are taken at even distances from the clearest to the most doubtful, so that the
    pictures show what is usual and not what is best.

    Args:
        tally: Of the kit.
        point: Of the kit.
        task: Ranks them.
    """
    worst = [Pictured(outcome, rows, False) for outcome, rows in tally.worst(point).items()]
    right = [
        Pictured(outcome, _spread(np.asarray(rows)), True)
        for outcome, rows in task.show.right(tally, point).items()
    ]
    return [*worst, *right]


def _spread(rows: np.ndarray) -> np.ndarray:
    """At most `_RIGHT_SHOWN` of them, evenly spread, the first and the last among these."""
    if len(rows) <= _RIGHT_SHOWN:
        return rows
    chosen: np.ndarray = rows[np.linspace(0, len(rows) - 1, _RIGHT_SHOWN).round().astype(int)]
    return chosen


def draw_worst(
    folder: Path,
    passed: Passed,
    spool: PictureSpool,
    point: Any,
    *,
    task: TaskSpec,
    context: TaskContext,
) -> None:
    """Draws what `pictured` chooses and writes an index; what an earlier evaluation drew goes.

    Args:
        folder: Receives the pictures and index.json.
        passed: The pass, with its outputs.
        spool: The reduced pictures of its items.
        point: The kit's point.
        task: Draws.
        context: What the task's functions know.
    """
    shutil.rmtree(folder, ignore_errors=True)
    index = []
    chosen = pictured(passed.tallies[0], point, task) if passed.outputs else []
    for outcome, rows, right in chosen:
        for rank, row in enumerate(rows, start=1):
            item = passed.items[row]
            (answer,) = task.answering.answers(passed.outputs[row], [item], point, context)
            drawn = task.show.draw(spool[int(row)], answer, item, context)
            if drawn is None:
                continue
            name = f"{outcome}-{rank}.jpg"
            save_jpeg(folder / name, drawn)
            caption = task.show.caption(answer, item, context)
            entry = {"id": item.id, "file": name, "kind": outcome, "caption": caption}
            index.append({**entry, "right": right})
    write_json(folder / "index.json", index)

"""The items that were answered worst, drawn: RUN/overlays with an index."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from moekit.contract.answers import TaskContext
from moekit.contract.tasks import TaskSpec
from moekit.data.pictures import save_jpeg
from moekit.evaluation.split_pass import Passed
from moekit.evaluation.spool import PictureSpool
from moekit.files import write_json


def draw_worst(
    folder: Path,
    passed: Passed,
    spool: PictureSpool,
    point: Any,
    *,
    task: TaskSpec,
    context: TaskContext,
) -> None:
    """Draws the worst items and writes their index; what an earlier evaluation drew goes.

    Args:
        folder: Where the pictures and index.json go.
        passed: The pass, with its outputs.
        spool: The reduced pictures of its items.
        point: The kit's point.
        task: Draws.
        context: What the task's functions know.
    """
    shutil.rmtree(folder, ignore_errors=True)
    index = []
    worst = passed.tallies[0].worst(point) if passed.outputs else {}
    for kind, rows in worst.items():
        for rank, row in enumerate(rows, start=1):
            item = passed.items[row]
            (answer,) = task.answering.answers(passed.outputs[row], [item], point, context)
            drawn = task.show.draw(spool[int(row)], answer, item, context)
            if drawn is None:
                continue
            name = f"{kind}-{rank}.jpg"
            save_jpeg(folder / name, drawn)
            caption = task.show.caption(answer, item, context)
            index.append({"id": item.id, "file": name, "kind": kind, "caption": caption})
    write_json(folder / "index.json", index)

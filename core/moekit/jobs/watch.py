"""Watching a folder with a run: the call behind `moekit watch`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from moekit.errors import UsageError
from moekit.files import check_writable
from moekit.jobs.trained import Opening, open_trained
from moekit.occupied import alone_in
from moekit.outputs import WATCH, check_vacant
from moekit.plugins.faults import names_owner
from moekit.plugins.registry import Registry
from moekit.plugins.resolve import kit_of_run
from moekit.prediction.watch.job import WatchJob, check_folders
from moekit.prediction.watch.loop import watch
from moekit.runs.run import Run


@names_owner
@alone_in("out")
def watch_folder(
    kit: str,
    *,
    folder: Path,
    run_folder: Path,
    out: Path,
    stop: threading.Event,
    tell: Callable[[str], None],
    how: Opening | None = None,
    golden: Path | None = None,
    reference: str = "validation",
    **options: Any,
) -> dict[str, Any]:
    """Watches a folder with a run; returns the content of summary.json.

    Args:
        kit: Name of the kit.
        folder: Where images arrive.
        run_folder: The run.
        out: The output folder.
        stop: Ends the watch once it is set.
        tell: Called with sentences for whoever looks after the line.
        how: How the run is opened.
        golden: Folder of golden images; None for none.
        reference: "validation" or "line".
        options: Further attributes of `WatchJob`.

    Raises:
        UsageError: The kit predicts in its own way, or its task cannot be watched.
    """
    check_vacant(out, WATCH)
    registry = Registry()
    run = Run(run_folder)
    record = run.read_finished()
    check_writable(out, out / "overlays")
    spec = kit_of_run(registry, kit, record)
    if spec.predict is not None or spec.reader is not None:
        raise UsageError(
            f"the kit {spec.name} predicts in its own way, not image by image",
            whose="moekit watch",
            fix="use `moekit predict`",
            code="usage/not-for-task",
        )
    check_folders(folder, out, golden)
    trained = open_trained(spec, run, registry=registry, how=how or Opening())
    task = trained.answerer.task
    if task.judge.reference is None or not task.show.monitor:
        raise UsageError(
            f"the task {task.name} has no number that a line could be watched by",
            whose="moekit watch",
            fix="use `moekit predict`",
            code="usage/not-for-task",
        )
    moved = bool(getattr(trained.answerer.point, "bias", 0))
    if moved and reference != "line":
        tell("the rule moves the number that is watched: it is compared with the line's own first")
        reference = "line"
    job = WatchJob(
        folder=folder,
        out=out,
        golden=golden,
        made_with=trained.made_with,
        provenance=trained.provenance,
        reference=task.judge.reference(trained.validation) if reference != "line" else None,
        **options,
    )
    for sentence in trained.sentences:
        tell(sentence)
    tell(f"watching {folder}")
    return watch(job, answerer=trained.answerer, stop=stop, tell=tell)

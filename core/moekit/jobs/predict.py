"""Answering inputs with a run: the call behind `moekit predict`."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import Image

from moekit.contract.jobs import PredictJob
from moekit.errors import UsageError
from moekit.files import check_writable
from moekit.jobs.trained import Opening, Trained, open_trained
from moekit.occupied import alone_in
from moekit.outputs import ANSWERS, check_vacant
from moekit.plugins.faults import names_owner
from moekit.plugins.registry import Registry
from moekit.plugins.resolve import kit_of_run
from moekit.prediction.inputs import check_paths, collect_inputs
from moekit.prediction.predict import notes_on, predict, predict_items
from moekit.runs.run import Run
from moekit.runtime.answerer import UNREADABLE, Answerer, Pictures


@names_owner
@alone_in("out")
def predict_inputs(
    kit: str,
    *,
    inputs: Sequence[Path],
    run_folder: Path,
    out: Path,
    on_progress: Callable[[str, int, int], None] = lambda *_: None,
    how: Opening | None = None,
    batch_size: int = 16,
    on_note: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Answers inputs with a run; returns what `--json` prints.

    Args:
        kit: Name of the kit.
        inputs: Files and folders.
        run_folder: The run.
        out: The output folder.
        on_progress: Called with a description, what is done and the total.
        how: How the run is opened.
        batch_size: Images a forward pass.
        on_note: Called with sentences: which model answers, its point, what is answered again, and
            what is left out.

    Raises:
        MoekitError: See `moekit.prediction.predict.predict`.
    """
    how = how or Opening()
    registry = Registry()
    if registry.kit(kit).predict is None:
        check_paths(inputs)  # a kit that predicts in its own way says it in its own words
    check_vacant(out, ANSWERS)
    run = Run(run_folder)
    record = run.read_finished()
    check_writable(out, out / "overlays")
    spec = kit_of_run(registry, kit, record)
    if spec.predict is not None and how.review is not None:
        raise UsageError(
            f"the kit {spec.name} predicts in its own way, which has no review zone",
            whose="--review",
            fix="leave it out",
            code="usage/not-for-task",
        )
    images = spec.predict is None and spec.reader is None
    notes: list[str] = []

    def tell(text: str) -> None:
        notes.append(text)
        on_note(text)

    found = collect_inputs(inputs, tell=tell) if images else []
    trained = open_trained(spec, run, registry=registry, how=how)
    for sentence in trained.sentences:
        on_note(sentence)
    if spec.predict is not None:
        return spec.predict(_own_way(trained, inputs, out, batch_size, on_progress))
    began = time.perf_counter()
    how_to: dict[str, Any] = {
        "answerer": trained.answerer,
        "provenance": trained.provenance,
        "out": out,
        "batch_size": batch_size,
        "on_progress": on_progress,
        "tell": tell,
    }
    if spec.reader is None:
        rows = predict(found, **how_to)
    else:
        rows = predict_items(spec.reader.items(tuple(inputs)), **how_to)
    gathered = dict(trained.answerer.task.show.gather(out, rows))
    if spec.reader is not None:
        gathered |= spec.reader.gather(rows, out)
    return {
        **trained.provenance,
        "told": [*trained.sentences, *trained.unverified],
        "n": len(rows),
        "unreadable": sum(row["verdict"] == UNREADABLE for row in rows),
        "seconds": time.perf_counter() - began,
        "notes": [*notes, *notes_on(rows)],
        **gathered,
        "predictions": rows,
    }


def _own_way(
    trained: Trained,
    inputs: Sequence[Path],
    out: Path,
    batch_size: int,
    on_progress: Callable[[str, int, int], None],
) -> PredictJob:
    answerer = trained.answerer
    *fewer, whole = answerer.in_steps()

    def monitors(by: Answerer, pictures: Pictures) -> np.ndarray:
        answers = by.answer(pictures, batch_size=batch_size)
        return np.array([answer.monitor for answer in answers], dtype=np.float64)

    def draw(picture: Image, answer: Any) -> Image | None:
        return answerer.task.show.draw(picture, answer, None, answerer.context)

    return PredictJob(
        inputs=tuple(inputs),
        out=out,
        score=functools.partial(monitors, whole),
        answer=answerer.answer,
        threshold=float(getattr(answerer.point, "threshold", np.nan)),
        provenance=trained.provenance,
        batch_size=batch_size,
        on_progress=on_progress,
        frames=answerer.preprocess.frames,
        draw=draw,
        told=(*trained.sentences, *trained.unverified),
        by_fewer_views=tuple(functools.partial(monitors, step) for step in fewer),
    )

"""A recovery from a carved form to a recovered one, resumable at any moment."""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from moekit.backbone.model import MoEBackbone
from moekit.backbone.sparse.form import SparseForm, load_form, save_form
from moekit.data.stream import Preprocess
from moekit.errors import DataError, UsageError
from moekit.files import read_json, sha256, to_json, write_json
from moekit.runs.facts import machine, now, versions
from moekit.runtime.device import Arithmetic, pick_arithmetic
from moekit.training.recover.distil import DistilRecipe, distil
from moekit.training.recover.pictures import Pictures, batches, half_size, split_pictures
from moekit.training.recover.quality import health, nearness, shaped
from moekit.training.recover.refit import refit
from moekit.training.recover.student import trained_form

_logger = logging.getLogger(__name__)
_FIT_BATCH = 16
_CURVE = (1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 15, 16)
_TOLD_SECONDS = 30.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recovery:
    """What to do.

    Attributes:
        start: The carved form.
        images: A folder of pictures.
        out: The file of the recovered form. Unfinished work lies next to it, in `OUT.work`.
        passes: Passes of the fit block by block.
        image_size: Side of the images, in pixels. Every second pass and every third step are at
            half of it, so that small inputs are known too.
        limit: Most pictures used.
        resume: Whether to go on with unfinished work.
        command: What was typed, for the form's facts.
        recipe: The distillation.
    """

    start: SparseForm
    images: Path
    out: Path
    passes: int
    image_size: int
    limit: int | None
    resume: bool
    command: str
    recipe: DistilRecipe

    @property
    def work(self) -> Path:
        """The folder of unfinished work."""
        return self.out.with_name(self.out.name + ".work")


def recover(
    task: Recovery,
    dense: MoEBackbone,
    *,
    on_progress: Callable[[str, int, int], None],
    on_line: Callable[[str], None],
) -> dict[str, Any]:
    """Fits, distils, measures and writes.

    Args:
        task: What to do.
        dense: The backbone without a form, on its device.
        on_progress: Called with a description, what is done and the total.
        on_line: Called with lines such as the time that is left.

    Returns:
        The facts that the form's file carries.

    Raises:
        DataError: The pictures changed while they were learned from.
        UsageError: There is unfinished work and `resume` is off, or it is another's.
    """
    began = time.monotonic()
    pictures = split_pictures(task.images, seed=task.recipe.seed, limit=task.limit)
    for note in pictures.notes:
        on_line(note)
    content = pictures.content()
    _open_work(task, dense, pictures, content)
    preprocess = Preprocess(size=task.image_size, mean=dense.mean, std=dense.std)
    device = next(dense.parameters()).device
    arithmetic = pick_arithmetic("auto", device)
    held_out = list(batches(pictures.held_out, preprocess, batch_size=8))
    fitted = _fitted(task, dense, pictures, preprocess, arithmetic, on_progress)
    student = shaped(dense, fitted)
    fitted_near = nearness(student, held_out, top_k=[task.recipe.top_k])[task.recipe.top_k]
    on_line(f"after the fit: mean cosine of held-out patch features {fitted_near.patches:.4f}")
    told = [time.monotonic()]

    def on_step(done: int, total: int, loss: float, left: float) -> None:
        on_progress("distillation, steps", done, total)
        if time.monotonic() - told[0] > _TOLD_SECONDS:
            told[0] = time.monotonic()
            on_line(f"step {done} of {total}: loss {loss:.4f}, about {left / 60:.0f} min left")

    distil(
        student,
        pictures.train,
        task.recipe,
        preprocess=preprocess,
        arithmetic=arithmetic,
        checkpoint=task.work / "distil.safetensors",
        on_step=on_step,
    )
    form = trained_form(student, fitted)
    steps = sorted({task.recipe.top_k, *(k for k in _CURVE if k <= dense.experts)})
    curve = nearness(student, held_out, top_k=steps)
    if curve[task.recipe.top_k].patches < fitted_near.patches:
        on_line("the distillation made the features no better: the fit is kept")
        form, student = fitted, shaped(dense, fitted)
        curve = nearness(student, held_out, top_k=steps)
    form = form.with_blocks(
        form.blocks,
        recipe=dataclasses.asdict(task.recipe),
        passes=task.passes,
        image_size=task.image_size,
        pictures={
            "train": len(pictures.train),
            "held_out": len(pictures.held_out),
            **({"notes": list(pictures.notes)} if pictures.notes else {}),
        },
        pictures_sha256=content,
        after_fit=fitted_near.as_json(),
        nearness={str(k): value.as_json() for k, value in curve.items()},
        health=health(student, held_out, top_k=task.recipe.top_k),
        seconds=round(time.monotonic() - began),
        command=task.command,
        created=now(),
        versions=versions(),
        machine=machine(),
    )
    if pictures.content() != content:
        raise DataError(
            "the pictures have changed while they were learned from",
            whose=str(task.images),
            fix=f"let nothing write to them, delete {task.work} and begin again",
            code="data/changed",
        )
    save_form(form, task.out)
    shutil.rmtree(task.work, ignore_errors=True)
    return dict(form.facts)


def _open_work(task: Recovery, dense: MoEBackbone, pictures: Pictures, content: str) -> None:
    """Notes what is asked for, or checks that unfinished work was asked for in the same way."""
    request = {
        "dense_sha256": dense.provenance.sha256,
        "start_sha256": task.start.sha256,
        "passes": task.passes,
        "image_size": task.image_size,
        "pictures": [len(pictures.train), len(pictures.held_out)],
        "pictures_sha256": content,
        "recipe": dataclasses.asdict(task.recipe),
    }
    noted = task.work / "request.json"
    if not noted.exists():
        write_json(noted, request)
        return
    if not task.resume:
        raise UsageError(
            "there is unfinished work of a recovery to this file",
            whose=str(task.work),
            fix="pass --resume to go on with it, delete the folder, or choose another --out",
            code="usage/exists",
        )
    known = read_json(noted)
    if isinstance(known, dict) and "pictures_sha256" not in known:
        _logger.warning(
            "%s does not say what its pictures were, since an earlier version began it: whether "
            "they have changed is not known",
            noted,
        )
        del request["pictures_sha256"]
    if known != json.loads(to_json(request)):
        raise UsageError(
            "the unfinished work was begun with other options, pictures or weights",
            whose=str(task.work),
            fix="resume with the same options, or delete the folder",
            code="usage/other-run",
        )


def _fitted(
    task: Recovery,
    dense: MoEBackbone,
    pictures: Pictures,
    preprocess: Preprocess,
    arithmetic: Arithmetic,
    on_progress: Callable[[str, int, int], None],
) -> SparseForm:
    """The form after the fit block by block; read back if it was finished before."""
    stored, noted = task.work / "fitted.safetensors", task.work / "fitted.json"
    if stored.exists() and noted.exists():
        if read_json(noted) == {"sha256": sha256(stored)}:
            return load_form(stored)
        _logger.warning("%s has changed since it was written; the fit is made again", stored)
    if not task.passes:
        return task.start
    fitted = refit(
        dense,
        task.start,
        _passes(task, pictures, preprocess, dense.patch),
        top_k=task.recipe.top_k,
        rank=task.start.blocks[0].down_RD.shape[0],
        arithmetic=arithmetic,
        progress=lambda done, total: on_progress("fit, blocks", done, total),
    )
    save_form(fitted, stored)
    write_json(noted, {"sha256": sha256(stored)})
    return load_form(stored)


def _passes(
    task: Recovery, pictures: Pictures, preprocess: Preprocess, patch: int
) -> Iterator[Tensor]:
    """Each pass at other crops; every second one at half the size."""
    for epoch in range(task.passes):
        yield from batches(
            pictures.train,
            preprocess if epoch % 2 == 0 else half_size(preprocess, patch),
            batch_size=_FIT_BATCH,
            epoch=epoch,
            seed=task.recipe.seed,
        )

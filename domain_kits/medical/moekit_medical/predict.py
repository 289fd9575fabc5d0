"""`moekit predict medical`: findings, or outlines of lesions, in the CT series at a path.

Shapes: N pictures, H and W rows and columns of one.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from moekit import DataError, PredictJob, UsageError
from moekit.data import parse_source, whole_number
from moekit.files import to_json

if TYPE_CHECKING:
    from moekit_medical.inference.lesions import LesionSummary
    from moekit_medical.inference.records import InferenceSummary
    from moekit_medical.inference.scoring import Scorer

_LARGEST = 100_000
"""Candidates of a series that may be asked for."""


def predict_series(task: PredictJob) -> dict[str, Any]:
    """Scores the nodule candidates of every CT series below one path.

    The tokens that name files and series in the outputs are salted with the run's provenance, so
    that the same command gives the same bytes. `PATH?candidates=NUMBER` says how many candidates of
    a series are scored at most.

    Raises:
        UsageError: More than one path was given.
        DataError: There is nothing at the path, no series that can be used, or the option is none.
        StorageError: The output cannot be written.
    """
    # The libraries of images and of DICOM output take a second to load; only this needs them.
    from moekit_medical.inference.candidates import MOST
    from moekit_medical.inference.earlier import remove_series, series_of
    from moekit_medical.inference.pipeline import CANDIDATES_OPTION, VIEWS_OPTION, run_inference

    path, options = _one_input(task, CANDIDATES_OPTION, VIEWS_OPTION)
    most = _most(options, CANDIDATES_OPTION, MOST)
    fewer = () if _all_views(options, VIEWS_OPTION) else task.by_fewer_views
    earlier = series_of(task.out / "series.json")

    def paint(crops_NSS: np.ndarray) -> list[Callable[[Image.Image], Image.Image | None]]:
        given = _pictures(crops_NSS)
        answers = task.answer(given, batch_size=task.batch_size) if task.answer else ()
        return [functools.partial(_drawn, task, answer) for answer in answers]

    summary = run_inference(
        path,
        scorer=_of_crops(task.score),
        by_fewer_views=[_of_crops(score) for score in fewer],
        painter=paint if task.answer and task.draw else None,
        told=told_of(task),
        threshold=task.threshold,
        out=task.out,
        salt=_salt(task),
        provenance=task.provenance,
        batch_size=max(task.batch_size, 64),
        frames=task.frames,
        most=most,
        progress=task.on_progress,
    )
    gone = remove_series(task.out, earlier - {record.name for record in summary.series})
    _check_usable(summary, record="series.json")
    dropped = sum(record.dropped for record in summary.series)
    return {
        **task.provenance,
        **summary.counts,
        **gone,
        "told": list(told_of(task)),
        "notes": [*summary.notes, *summary.dropped_in_words],
        **({"candidates not scored": dropped} if dropped else {}),
        "findings": sum(len(record.findings) for record in summary.series),
        "ignored": len(summary.ignored),
    }


def predict_lesions(task: PredictJob) -> dict[str, Any]:
    """Outlines the lesions in every CT series below one path, for runs of the task `segment`.

    Tokens are salted as those of `predict_series`.

    Raises:
        UsageError: More than one path was given, or the run was trained on stacks.
        DataError: There is nothing at the path, or no series that can be used.
        StorageError: The output cannot be written.
    """
    return _outlined(task, lambda answer: ~np.isin(answer.class_HW, answer.background))


def predict_objects(task: PredictJob) -> dict[str, Any]:
    """As `predict_lesions`, for runs of the task `instances`: objects that touch stay apart.

    Raises:
        UsageError: As of `predict_lesions`.
        DataError: As of `predict_lesions`.
        StorageError: As of `predict_lesions`.
    """
    return _outlined(task, lambda answer: answer.number_HW)


def _outlined(task: PredictJob, pixels_of: Callable[[Any], np.ndarray]) -> dict[str, Any]:
    """Outlines lesions; `pixels_of` gives (H, W) bool or uint16 of an answer, see `Outliner`."""
    from moekit_medical.inference.earlier import remove_series, series_of
    from moekit_medical.inference.lesion_outputs import FILES
    from moekit_medical.inference.lesions import run_lesions

    (path, _), answer = _one_input(task), task.answer
    if answer is None or task.frames != 1:
        raise UsageError(
            f"the run answers stacks of {task.frames} slices",
            whose="moekit predict medical",
            fix="use a run that was adapted on single slices, as the loader lesions gives them",
            code="usage/frame-count",
        )

    earlier = series_of(task.out / "summary.json")

    def outline(pictures_NHW: np.ndarray) -> np.ndarray:
        answers: list[Any] = list(answer(_pictures(pictures_NHW), batch_size=task.batch_size))
        return np.stack([pixels_of(one) for one in answers])

    summary = run_lesions(
        path,
        outliner=outline,
        out=task.out,
        salt=_salt(task),
        provenance=task.provenance,
        told=told_of(task),
        batch_size=max(task.batch_size, 1),
        progress=task.on_progress,
    )
    gone = remove_series(
        task.out, earlier - {record.series.name for record in summary.series}, files=FILES
    )
    _check_usable(summary, record="summary.json")
    return {
        **task.provenance,
        **summary.counts,
        **gone,
        "told": list(told_of(task)),
        "notes": list(summary.notes),
        "ignored": len(summary.ignored),
    }


def told_of(task: PredictJob) -> tuple[str, ...]:
    """Which model answers, why, and what its point promises, in sentences."""
    model = task.provenance.get("model")
    plain = () if model else ("answers come from the specialist",)
    return (*plain, *task.told)


def _pictures(pixels: np.ndarray) -> list[Image.Image | list[Image.Image]]:
    """RGB pictures of (N, H, W) uint8, or N stacks of them of (N, T, H, W)."""
    if pixels.ndim == 3:
        return [Image.fromarray(one_HW).convert("RGB") for one_HW in pixels]
    return [[Image.fromarray(one).convert("RGB") for one in stack_THW] for stack_THW in pixels]


def _of_crops(score: Callable[[Any], np.ndarray]) -> Scorer:
    def call(crops_NSS: np.ndarray) -> np.ndarray:
        return score(_pictures(crops_NSS))

    return call


def _drawn(task: PredictJob, answer: Any, picture: Image.Image) -> Image.Image | None:
    return None if task.draw is None else task.draw(picture, answer)


def _one_input(task: PredictJob, *known: str) -> tuple[Path, Mapping[str, str]]:
    """The path, and the options behind it.

    A path that is not there is left to whoever reads it, whose error does not repeat it.
    """
    if len(task.inputs) != 1:
        raise UsageError(
            f"{len(task.inputs)} inputs were given",
            whose="moekit predict medical",
            fix="name one folder, zip archive or file; folders may hold many series",
            code="usage/several-inputs",
        )
    (path,) = task.inputs
    name, mark, _ = str(path).rpartition("?")
    if mark and not path.exists() and Path(name).exists():
        return parse_source(path, known=known)
    return path, {}


def _most(options: Mapping[str, str], name: str, otherwise: int) -> int:
    if name not in options:
        return otherwise
    number = whole_number(options[name], least=1, most=_LARGEST)
    if number is None:
        raise DataError(
            f"it is no number from 1 to {_LARGEST}",
            whose=f"the option {name}",
            fix=f"write it as in ?{name}=2000",
            code="data/bad-option",
        )
    return number


def _all_views(options: Mapping[str, str], name: str) -> bool:
    given = options.get(name, "needed")
    if given not in ("needed", "all"):
        raise DataError(
            "it is neither needed nor all",
            whose=f"the option {name}",
            fix=f"write ?{name}=all, or leave it out",
            code="data/bad-option",
        )
    return given == "all"


def _check_usable(summary: InferenceSummary | LesionSummary, *, record: str) -> None:
    """Refuses an input without a series that could be used; `record` is the file of the reasons."""
    from moekit_medical.inference.failures import check_some_usable

    failed = [one.reason for one in summary.series if one.status == "failed"]
    check_some_usable(
        len(summary.series) - len(failed),
        failed=failed,
        refused=summary.refused,
        ignored=summary.ignored,
        record=record,
    )


def _salt(task: PredictJob) -> bytes:
    return hashlib.sha256(to_json(dict(task.provenance), sort_keys=True).encode()).digest()

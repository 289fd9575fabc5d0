"""Tallies on disk: counts as an npz file that holds no code, and a table to read.

Shapes: N pictures, C classes, M models.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pydantic

from moekit.files import atomic_text
from moekit.tables import CsvWriter
from moekit.tasks.parts.stored import AboutTallies, load_arrays, save_arrays
from moekit.tasks.segment.conformal import BIASES
from moekit.tasks.segment.metrics import class_iou
from moekit.tasks.segment.tally import SegmentTally

_VERSION = 1
_MISSED = "missed_NL"
_COUNTS = ("confusion_NCC", "boundary_NC3", "predicted_NC", "ignored_N")


def save_tallies(folder: Path, stem: str, tallies: Sequence[SegmentTally]) -> list[str]:
    """Writes `STEM.npz`, from which tallies are read again, and `STEM.csv`, for people.

    The table has a line for each picture: its id, group and subtype, its pixels, the IoU of each
    class (empty for one in neither truth nor answer), the mean over its foreground classes, and the
    same mean of the baseline.

    Args:
        folder: Where to.
        stem: Begins both names.
        tallies: (M) of the kit and, if there is one, of the baseline: the same pictures.

    Returns:
        The names of the files.

    Raises:
        StorageError: A file cannot be written.
    """
    first = tallies[0]
    about = {
        "version": _VERSION,
        "models": len(tallies),
        "ids": first.ids,
        "classes": first.classes,
        "background": first.background,
        "groups": first.groups,
        "subtypes": first.subtypes,
        "facts": dict(first.facts),
    }
    arrays: dict[str, np.ndarray] = {}
    for number, tally in enumerate(tallies):
        arrays |= {f"{name}.{number}": getattr(tally, name) for name in _COUNTS}
        if tally.missed_NL is not None:
            arrays[f"{_MISSED}.{number}"] = tally.missed_NL
    save_arrays(folder / f"{stem}.npz", about, arrays)
    _write_table(folder / f"{stem}.csv", tallies)
    return [f"{stem}.npz", f"{stem}.csv"]


def load_tallies(folder: Path, stem: str) -> tuple[SegmentTally, ...]:
    """Reads what `save_tallies` wrote: the npz file; the table is for people only.

    Returns:
        The kit's tally and, if it is there, the baseline's; none if the file is gone.

    Raises:
        DataError: The file is damaged.
    """
    path = folder / f"{stem}.npz"
    if not path.exists():
        return ()
    return load_arrays(path, _made, what="the counts of the answers")


class _About(AboutTallies):
    """What the file says of its counts."""

    background: list[int]
    facts: dict[str, list[str]]

    @pydantic.model_validator(mode="after")
    def _numbers_are_of_classes(self) -> Self:
        if not {*self.background} <= {*range(len(self.classes))}:
            raise ValueError("a class of the background is none of the classes")
        return self


def _made(said: Any, arrays: dict[str, np.ndarray]) -> tuple[SegmentTally, ...]:
    about = _About.model_validate(said)
    tallies = tuple(_tally(about, arrays, number) for number in range(about.models))
    counted = [name for name in arrays if not name.startswith(f"{_MISSED}.")]
    if len(counted) != len(_COUNTS) * len(tallies):
        raise ValueError(f"it holds {len(arrays)} arrays for {about.models} models")
    return tallies


def _tally(about: _About, arrays: dict[str, np.ndarray], number: int) -> SegmentTally:
    pictures, classes = len(about.ids), len(about.classes)
    shapes = {
        "confusion_NCC": (pictures, classes, classes),
        "boundary_NC3": (pictures, classes, 3),
        "predicted_NC": (pictures, classes),
        "ignored_N": (pictures,),
    }
    for name in _COUNTS:
        array = arrays[f"{name}.{number}"]
        if array.shape != shapes[name] or array.dtype != np.int64:
            raise ValueError(f"{name} has the shape {array.shape} and the type {array.dtype}")
    missed_NL = arrays.get(f"{_MISSED}.{number}")
    missed = (pictures, len(BIASES))
    if missed_NL is not None and (missed_NL.shape != missed or missed_NL.dtype != np.int64):
        raise ValueError(f"{_MISSED} has the shape {missed_NL.shape}, the type {missed_NL.dtype}")
    return SegmentTally(
        missed_NL=missed_NL,
        ids=tuple(about.ids),
        classes=tuple(about.classes),
        background=tuple(about.background),
        facts={name: about.names(values) or () for name, values in about.facts.items()},
        confusion_NCC=arrays[f"confusion_NCC.{number}"],
        boundary_NC3=arrays[f"boundary_NC3.{number}"],
        predicted_NC=arrays[f"predicted_NC.{number}"],
        ignored_N=arrays[f"ignored_N.{number}"],
        groups=about.names(about.groups),
        subtypes=about.names(about.subtypes),
    )


def _write_table(path: Path, tallies: Sequence[SegmentTally]) -> None:
    first, *rest = tallies
    iou_NC = class_iou(first.confusion_NCC)
    means = [tally.image_iou_N for tally in tallies]
    with atomic_text(path) as file:
        writer = CsvWriter(file)
        names = [f"iou {name}" for name in first.classes]
        baseline = ["baseline_iou"] * bool(rest)
        writer.writerow(["id", "group", "subtype", "pixels", "ignored", *names, "iou", *baseline])
        for row, name in enumerate(first.ids):
            writer.writerow(
                [
                    name,
                    "" if first.groups is None else first.groups[row],
                    "" if first.subtypes is None else first.subtypes[row],
                    int(first.confusion_NCC[row].sum()),
                    int(first.ignored_N[row]),
                    *(_cell(value) for value in iou_NC[row]),
                    *(_cell(mean_N[row]) for mean_N in means[: 1 + bool(rest)]),
                ]
            )


def _cell(value: float) -> str:
    return repr(float(value)) if math.isfinite(value) else ""

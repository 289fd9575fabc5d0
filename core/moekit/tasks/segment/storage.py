"""Tallies on disk: counts as an npz file that holds no code, and a table to read.

Shapes: N pictures, C classes, M models.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

import numpy as np
import pydantic

from moekit.data.arrays import Arrays
from moekit.errors import DataError
from moekit.files import atomic_path, atomic_text, parse_json, to_json
from moekit.tables import CsvWriter
from moekit.tasks.segment.conformal import BIASES
from moekit.tasks.segment.metrics import class_iou
from moekit.tasks.segment.tally import SegmentTally
from moekit.text import first_line

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
    text = to_json(about, ensure_ascii=False).encode()
    arrays = {"about": np.frombuffer(text, dtype=np.uint8)}
    for number, tally in enumerate(tallies):
        arrays |= {f"{name}.{number}": getattr(tally, name) for name in _COUNTS}
        if tally.missed_NL is not None:
            arrays[f"{_MISSED}.{number}"] = tally.missed_NL
    with atomic_path(folder / f"{stem}.npz") as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
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
    try:
        with Arrays(path) as stored:
            arrays = {name: stored.read(name) for name in stored.names}
        about = _About.model_validate(parse_json(bytes(arrays.pop("about")).decode()))
        tallies = tuple(_tally(about, arrays, number) for number in range(about.models))
        counted = [name for name in arrays if not name.startswith(f"{_MISSED}.")]
        if not tallies or len(counted) != len(_COUNTS) * len(tallies):
            raise ValueError(f"it holds {len(arrays)} arrays for {about.models} models")
        return tallies
    except (DataError, KeyError, ValueError) as error:
        why = error.what if isinstance(error, DataError) else first_line(error)
        raise DataError(
            f"the counts of the answers cannot be read ({why})",
            whose=str(path),
            fix="run `moekit evaluate` again",
            code="data/damaged-run",
        ) from error


class _About(pydantic.BaseModel):
    """What the file says of its counts."""

    model_config = pydantic.ConfigDict(strict=True)

    version: Literal[1]
    models: int = pydantic.Field(ge=1, le=9)
    ids: list[str]
    classes: list[str]
    background: list[int]
    groups: list[str] | None
    subtypes: list[str] | None
    facts: dict[str, list[str]]

    @pydantic.model_validator(mode="after")
    def _numbers_are_of_classes(self) -> Self:
        if not {*self.background} <= {*range(len(self.classes))}:
            raise ValueError("a class of the background is none of the classes")
        return self


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
        facts={name: _names(values, pictures) or () for name, values in about.facts.items()},
        confusion_NCC=arrays[f"confusion_NCC.{number}"],
        boundary_NC3=arrays[f"boundary_NC3.{number}"],
        predicted_NC=arrays[f"predicted_NC.{number}"],
        ignored_N=arrays[f"ignored_N.{number}"],
        groups=_names(about.groups, pictures),
        subtypes=_names(about.subtypes, pictures),
    )


def _names(values: Sequence[str] | None, count: int) -> tuple[str, ...] | None:
    if values is not None and len(values) != count:
        raise ValueError(f"{len(values)} names for {count} pictures")
    return None if values is None else tuple(values)


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

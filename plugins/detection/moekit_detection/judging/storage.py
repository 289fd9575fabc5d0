"""Tallies on disk: matches as an npz file that holds no code, and a table to read.

Shapes: N pictures, M models.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydantic

from moekit.files import atomic_text
from moekit.tables import CsvWriter
from moekit.tasks.parts import AboutTallies, load_arrays, save_arrays
from moekit_detection.judging.match import RANGES
from moekit_detection.judging.matches import ARRAYS, Matches
from moekit_detection.judging.mistakes import MISSED, NAMES
from moekit_detection.judging.tally import DetectTally

_VERSION = 1
_OF_PICTURES = ("rows_N", "excess_N")


def save_tallies(folder: Path, stem: str, tallies: Sequence[DetectTally]) -> list[str]:
    """Writes `STEM.npz`, from which tallies are read again, and `STEM.csv`, for people.

    The table has a line for each picture: its id, group and subtype, its true objects and crowds,
    how many were found at IoU 0.5 whatever their score, the wrong objects of each kind, those that
    nothing was found for, and how many the baseline found.

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
        "images": first.matches.images,
        "groups": first.groups,
        "subtypes": first.subtypes,
    }
    arrays: dict[str, np.ndarray] = {}
    for number, tally in enumerate(tallies):
        arrays |= {f"{name}.{number}": getattr(tally, name) for name in _OF_PICTURES}
        arrays |= {f"{name}.{number}": getattr(tally.matches, name) for name in ARRAYS}
    save_arrays(folder / f"{stem}.npz", about, arrays)
    _write_table(folder / f"{stem}.csv", tallies)
    return [f"{stem}.npz", f"{stem}.csv"]


def load_tallies(folder: Path, stem: str) -> tuple[DetectTally, ...]:
    """Reads what `save_tallies` wrote: the npz file; the table is for people only.

    Returns:
        The kit's tally and, if it is there, the baseline's; none if the file is gone.

    Raises:
        DataError: The file is damaged.
    """
    path = folder / f"{stem}.npz"
    if not path.exists():
        return ()
    return load_arrays(path, _made, what="the matches of the answers")


class _About(AboutTallies):
    """What the file says of its matches."""

    images: int = pydantic.Field(ge=0)


def _made(said: Any, arrays: dict[str, np.ndarray]) -> tuple[DetectTally, ...]:
    about = _About.model_validate(said)
    return tuple(_tally(about, arrays, number) for number in range(about.models))


def _tally(about: _About, arrays: dict[str, np.ndarray], number: int) -> DetectTally:
    own: dict[str, Any] = {name: arrays[f"{name}.{number}"] for name in (*_OF_PICTURES, *ARRAYS)}
    pictures, images, classes = len(about.ids), about.images, len(about.classes)
    for name, array in own.items():
        kind = ARRAYS.get(name, np.int64)
        axis = name.rpartition("_")[2][0]
        length = pictures if axis == "N" else len(own[f"image_{axis}"])
        if array.dtype != kind or len(array) != length:
            raise ValueError(f"{name} has the shape {array.shape} and the type {array.dtype}")
        if name.endswith("A") and array.shape[1:] != (len(RANGES),):
            raise ValueError(f"{name} has the shape {array.shape}")
    if ((own["meant_D"] < -1) | (own["meant_D"] >= len(own["image_G"]))).any():
        raise ValueError("an object means one that is not there")
    limits = {"rows_N": images, "image_D": images, "image_G": images}
    limits |= {"class_D": classes, "class_G": classes}
    for name, limit in limits.items():
        if ((own[name] < 0) | (own[name] >= limit)).any():
            raise ValueError(f"a number of {name} is not below {limit}")
    return DetectTally(
        ids=tuple(about.ids),
        classes=tuple(about.classes),
        rows_N=own.pop("rows_N"),
        excess_N=own.pop("excess_N"),
        matches=Matches(images=images, classes=classes, **own),
        groups=about.names(about.groups),
        subtypes=about.names(about.subtypes),
    )


def _write_table(path: Path, tallies: Sequence[DetectTally]) -> None:
    first, *rest = tallies
    matches = first.matches
    real_G = ~matches.crowd_G
    columns = [
        _per_image(matches.image_G, real_G, matches.images),
        _per_image(matches.image_G, matches.crowd_G, matches.images),
        _found(matches),
        *(_per_image(matches.image_D, matches.mistake_D == kind, matches.images) for kind in NAMES),
        _per_image(matches.image_G, real_G & np.isnan(matches.found_G), matches.images),
        *(_found(one.matches) for one in rest[:1]),
    ]
    with atomic_text(path) as file:
        writer = CsvWriter(file)
        named = ["objects", "crowds", "found", *NAMES.values(), MISSED]
        writer.writerow(["id", "group", "subtype", *named, *["baseline_found"] * bool(rest)])
        for place, (name, row) in enumerate(zip(first.ids, first.rows_N.tolist(), strict=True)):
            group = "" if first.groups is None else first.groups[place]
            subtype = "" if first.subtypes is None else first.subtypes[place]
            writer.writerow([name, group, subtype, *(int(column[row]) for column in columns)])


def _found(matches: Matches) -> np.ndarray:
    return _per_image(matches.image_G, np.isfinite(matches.found_G), matches.images)


def _per_image(image: np.ndarray, chosen: np.ndarray, images: int) -> np.ndarray:
    return np.bincount(image[chosen], minlength=images)

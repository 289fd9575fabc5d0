"""Tallies of instances on disk: two files of matches, by masks and by boxes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from moekit import DataError
from moekit_detection.instances.tally import InstanceTally
from moekit_detection.judging.storage import load_tallies, save_tallies
from moekit_detection.judging.tally import DetectTally

_BOXES = "_boxes"


def save_instances(folder: Path, stem: str, tallies: Sequence[InstanceTally]) -> list[str]:
    """Writes what `save_tallies` writes, of the masks, and the same of the boxes.

    Names of the latter begin with `STEM_boxes`.

    Returns:
        The names of the files.

    Raises:
        StorageError: A file cannot be written.
    """
    boxes = [dataclasses.replace(one, matches=one.box_matches) for one in tallies]
    return [
        *save_tallies(folder, stem, tallies),
        *save_tallies(folder, stem + _BOXES, boxes),
    ]


def load_instances(folder: Path, stem: str) -> tuple[InstanceTally, ...]:
    """Reads what `save_instances` wrote.

    Returns:
        The kit's tally and, if it is there, the baseline's; none if the files are gone.

    Raises:
        DataError: A file is damaged, or one of the two is gone.
    """
    masks, boxes = load_tallies(folder, stem), load_tallies(folder, stem + _BOXES)
    if [one.ids for one in masks] != [one.ids for one in boxes]:
        raise DataError(
            "the matches by masks and by boxes are of other pictures, or those of one are gone",
            whose=str(folder / f"{stem}{_BOXES}.npz"),
            fix="run `moekit evaluate` again",
            code="data/damaged-run",
        )
    return tuple(_joined(*pair) for pair in zip(masks, boxes, strict=True))


def _joined(masks: DetectTally, boxes: DetectTally) -> InstanceTally:
    held = {field.name: getattr(masks, field.name) for field in dataclasses.fields(masks)}
    return InstanceTally(**held, box_matches=boxes.matches)

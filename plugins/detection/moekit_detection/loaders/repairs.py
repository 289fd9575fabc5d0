"""What was repaired, dropped or guessed in annotations, counted, with an example each."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

KINDS = {
    "cut": "boxes reach beyond their pictures and are cut",
    "outside": "boxes lie outside of their pictures and are dropped",
    "flat": "boxes have no area and are dropped",
    "not a number": "boxes hold something that is no finite number and are dropped",
    "no box": "annotations have no box and are dropped",
    "twice": "objects are listed twice and are taken once",
    "no area": "areas are no positive numbers; width times height is taken",
    "no picture": "annotations are of no picture and are dropped",
    "same id": "annotations have the id of another; all are taken",
    "turned": "pictures are stored turned and their boxes with them; both are taken upright",
    "mirrored": "pictures are stored turned or mirrored in a way that their size does not tell; "
    "their boxes are taken for those of the upright pictures",
    "no label file": "pictures have no label file and are taken for pictures without objects",
    "shared label file": "pictures have the label file of another one and take the same objects",
    "lone label file": "label files are of no picture and are passed over",
    "polygon": "objects are outlines, whose bounding boxes are taken",
    "difficult": "objects are marked difficult and are taken as crowds: neither missed nor false",
    "crowd": "annotations have an iscrowd that is neither 0 nor 1 and are taken as single objects",
    "mask elsewhere": "masks share less than a tenth with their boxes; each is taken as it is",
    "mask cut": "masks reach beyond their pictures and are cut",
    "mask size": "masks are of another size than their pictures and are not used",
    "mask empty": "masks hold no pixel and are not used",
    "mask damaged": "masks are neither polygons nor run lengths and are not used",
    "few points": "parts of masks have fewer than 3 points and are left out",
    "other split": "images name another split than their file does; that of the file is taken",
    "no size": "annotations say no size of their picture; the picture's own is taken",
}
"""What a count of each kind says."""
_PIXEL = 1e-3


class Repairs:
    """Counts what was done, and keeps the first example of each kind."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._first: dict[str, str] = {}

    def add(self, kind: str, example: str) -> None:
        """Counts one case.

        Args:
            kind: One of `KINDS`.
            example: Names it.
        """
        if kind not in KINDS:
            raise ValueError(f"there is no kind {kind!r}")
        self._counts[kind] = self._counts.get(kind, 0) + 1
        self._first.setdefault(kind, example)

    def notes(self) -> tuple[str, ...]:
        """A sentence on each kind that occurred."""
        return tuple(
            f"{count} {KINDS[kind]}, such as {self._first[kind]}"
            for kind, count in sorted(self._counts.items())
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shape:
    """One annotated object, in pixels of the picture as it is stored or upright.

    Attributes:
        box: x, y, width, height; anything.
        label: Class.
        crowd: Whether it stands for many.
        area: Square pixels as annotated; None if nobody said.
        name: For notes.
        outline: Its mask as annotated, in pixels of the stored picture: polygons or run lengths as
            COCO has them; anything. None if there is none.
        mask: (n, 2) its runs in the upright picture (`moekit_detection.masks.runs`); None if it has
            no mask that can be used.
    """

    box: tuple[float, float, float, float]
    label: int
    name: str
    crowd: bool = False
    area: float | None = None
    outline: Any = dataclasses.field(default=None, compare=False)
    mask: np.ndarray | None = dataclasses.field(default=None, compare=False)


def sound(shape: Shape, size: tuple[int, int], repairs: Repairs) -> Shape | None:
    """An object whose box lies in its picture and has an area; None if that cannot be made.

    Args:
        shape: As annotated.
        size: (H, W) of the picture.
        repairs: Takes what was done.
    """
    if not all(map(math.isfinite, shape.box)):
        repairs.add("not a number", shape.name)
        return None
    x, y, width, height = shape.box
    if width <= 0 or height <= 0:
        repairs.add("flat", shape.name)
        return None
    low = np.clip((x, y), 0, (size[1], size[0]))
    high = np.clip((x + width, y + height), 0, (size[1], size[0]))
    inside = high - low
    if (inside <= 0).any():
        repairs.add("outside", shape.name)
        return None
    area = shape.area
    if area is not None and not (math.isfinite(area) and area > 0):
        repairs.add("no area", shape.name)
        area = None
    if (np.abs(inside - (width, height)) > _PIXEL).any():
        repairs.add("cut", shape.name)
        area = None if area is None else area * float(inside.prod()) / (width * height)
        box = (float(low[0]), float(low[1]), float(inside[0]), float(inside[1]))
    else:
        box = (float(x), float(y), float(width), float(height))
    return dataclasses.replace(shape, box=box, area=area)


def once(shapes: list[Shape], repairs: Repairs) -> list[Shape]:
    """The objects without those that are another once more: the same class and box."""
    seen: set[tuple[int, tuple[float, ...]]] = set()
    kept = []
    for shape in shapes:
        key = (shape.label, shape.box)
        if key in seen:
            repairs.add("twice", shape.name)
        else:
            kept.append(shape)
        seen.add(key)
    return kept

"""Outlines of masks along the edges of pixels, and their connected regions.

Shapes: H and W rows and columns of a mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np

Ring = list[tuple[int, int]]
"""Corners (x, y) of a closed line, the first one not repeated."""

MOST = 50
"""Regions that are listed of one picture, the largest first."""


_STRIP = 1_000_000
"""Pixels that are counted at a time."""


class ClassRegion(TypedDict):
    """A connected region of one class, in pixels of the picture, upright.

    Attributes:
        label: Name of the class.
        x: Left column of its box.
        y: Upper row.
        width: Columns of the box.
        height: Rows of the box.
        area: Pixels of the region.
    """

    label: str
    x: int
    y: int
    width: int
    height: int
    area: int


def find_regions(
    class_HW: np.ndarray, names: Sequence[str], background: Sequence[int]
) -> list[ClassRegion]:
    """The connected regions of foreground classes, the largest first, at most `MOST`.

    Pixels that touch at a corner are of one region.

    Args:
        class_HW: (H, W) class numbers.
        names: Of the classes.
        background: Numbers of classes that have no regions.
    """
    from scipy import ndimage  # type: ignore[import-untyped]

    found: list[ClassRegion] = []
    for number in np.flatnonzero(count_values(class_HW, len(names))).tolist():
        if number in background:
            continue
        mask_HW = class_HW == number
        down, across = _span(mask_HW.any(1)), _span(mask_HW.any(0))
        labels, count = ndimage.label(mask_HW[down, across], structure=np.ones((3, 3)))
        del mask_HW
        areas = count_values(labels, count + 1)
        boxes = ndimage.find_objects(labels)
        largest = np.argsort(-areas[1:], kind="stable")[:MOST]
        for place in largest.tolist():
            rows, columns = boxes[place]
            found.append(
                ClassRegion(
                    label=names[number],
                    x=across.start + columns.start,
                    y=down.start + rows.start,
                    width=columns.stop - columns.start,
                    height=rows.stop - rows.start,
                    area=int(areas[place + 1]),
                )
            )
    return sorted(found, key=lambda region: -region["area"])[:MOST]


def count_values(values_HW: np.ndarray, least: int) -> np.ndarray:
    """How often each number stands in a plane: at least `least` counts, int64.

    `numpy.bincount` alone would first copy the plane in 64 bits.
    """
    rows = max(1, _STRIP // max(1, values_HW.shape[1]))
    parts = [
        np.bincount(values_HW[top : top + rows].reshape(-1), minlength=least)
        for top in range(0, len(values_HW), rows)
    ]
    total = np.zeros(max([least, *map(len, parts)]), dtype=np.int64)
    for part in parts:
        total[: len(part)] += part
    return total


def _span(any_N: np.ndarray) -> slice:
    """From the first to the last that is true."""
    places = np.flatnonzero(any_N)
    return slice(int(places[0]), int(places[-1]) + 1)


def rings_around(mask_HW: np.ndarray) -> list[Ring]:
    """The closed lines around the positive pixels, along their edges, without needless corners.

    Outer lines run clockwise on the screen and lines around holes the other way, so that the signed
    areas of all sum to the pixels. Pixels that touch at a corner only have lines of their own.

    Args:
        mask_HW: (H, W), positive if it is not zero.
    """
    padded = np.pad(np.asarray(mask_HW, dtype=np.int8), 1)
    down, across = np.diff(padded, axis=0), np.diff(padded, axis=1)
    ends: dict[tuple[int, int], list[tuple[int, int]]] = {}
    # Each edge has its pixel on the right: top edges run right, right ones down, and so on.
    for change, step in ((down == 1, (1, 0)), (down == -1, (-1, 0))):
        for y, x in np.argwhere(change).tolist():
            start = (x - 1, y) if step == (1, 0) else (x, y)
            ends.setdefault(start, []).append(step)
    for change, step in ((across == -1, (0, 1)), (across == 1, (0, -1))):
        for y, x in np.argwhere(change).tolist():
            start = (x, y - 1) if step == (0, 1) else (x, y)
            ends.setdefault(start, []).append(step)
    rings = []
    while ends:
        rings.append(_ring(ends))
    return rings


def ring_area(ring: Ring) -> int:
    """Pixels inside a ring, negative for one around a hole (the shoelace formula)."""
    xy = np.array(ring, dtype=np.int64)
    after = np.roll(xy, -1, axis=0)
    return int((xy[:, 0] * after[:, 1] - after[:, 0] * xy[:, 1]).sum()) // 2


def _ring(ends: dict[tuple[int, int], list[tuple[int, int]]]) -> Ring:
    """Follows edges from any start until they close, turning right if two ways are open."""
    start = at = next(iter(ends))
    step = first = ends[start][0]
    corners: Ring = []
    while True:
        ways = ends.get(at, [])
        right = (-step[1], step[0])
        if corners and at == start and right not in ways:
            break
        way = right if corners and right in ways else ways[0]
        ways.remove(way)
        if not ways:
            del ends[at]
        if way != step or not corners:
            corners.append(at)
        step = way
        at = (at[0] + way[0], at[1] + way[1])
    return corners[1:] if step == first else corners  # else the start is on a straight line

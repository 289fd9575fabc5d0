"""The regions of a map that reach the threshold: where they lie and how large they are.

Shapes: h and w rows and columns of the patch grid, H and W those of the picture.
"""

from __future__ import annotations

from typing import TypedDict

import numpy as np
from scipy import ndimage  # type: ignore[import-untyped]

from moekit.tasks.score.localisation import enlarged

_MOST = 50
"""Regions that are listed of one picture, the largest first."""


class Region(TypedDict):
    """A connected region, in pixels of the picture as it is in its file, upright.

    Attributes:
        x: Left column of its box.
        y: Upper row.
        width: Columns of the box.
        height: Rows of the box.
        area: Pixels of the region.
        peak: Greatest value of the map in it.
    """

    x: int
    y: int
    width: int
    height: int
    area: int
    peak: float


def find_regions(evidence: np.ndarray, *, threshold: float, size: tuple[int, int]) -> list[Region]:
    """The regions in which a map reaches a threshold, the largest first, at most 50.

    The map is enlarged to the picture as metrics enlarge it; pixels that touch at a
    corner are of one region.

    Args:
        evidence: (h, w) map in [0, 1].
        threshold: The operating threshold of the scores, which maps share.
        size: H and W.
    """
    if not (evidence >= threshold).any():
        return []
    large = enlarged(evidence, size)
    numbers, count = ndimage.label(large >= threshold, structure=np.ones((3, 3)))
    areas = np.bincount(numbers.ravel(), minlength=count + 1)
    boxes = ndimage.find_objects(numbers)
    order = sorted(range(1, count + 1), key=lambda number: -areas[number])[:_MOST]
    return [
        Region(
            x=boxes[number - 1][1].start,
            y=boxes[number - 1][0].start,
            width=boxes[number - 1][1].stop - boxes[number - 1][1].start,
            height=boxes[number - 1][0].stop - boxes[number - 1][0].start,
            area=int(areas[number]),
            peak=float(large[boxes[number - 1]][numbers[boxes[number - 1]] == number].max()),
        )
        for number in order
    ]

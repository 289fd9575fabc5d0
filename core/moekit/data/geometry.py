"""How a picture lies in the backbone's input: squashed, or at its own aspect ratio with borders.

Shapes: H and W rows and columns of a picture, h and w those of a map over the whole input.
"""

from __future__ import annotations

import dataclasses
from typing import Literal, NamedTuple

import numpy as np

Size = tuple[int, int]
"""Rows and columns."""
Fit = Literal["squash", "letterbox"]


class Box(NamedTuple):
    """A rectangle of an input, in pixels."""

    top: int
    left: int
    height: int
    width: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Frame:
    """The input's size, and how a picture is fitted to it.

    Attributes:
        height: Rows of the input.
        width: Columns of the input.
        fit: `squash` stretches the picture over the whole input. `letterbox` keeps its aspect
            ratio, centres it and fills the border with the mean colour.
    """

    height: int
    width: int
    fit: Fit = "squash"

    def box(self, size: Size) -> Box:
        """Where a picture of `size` (H, W) lies in the input."""
        if self.fit == "squash":
            return Box(0, 0, self.height, self.width)
        scale = min(self.height / size[0], self.width / size[1])
        height = min(self.height, max(1, round(size[0] * scale)))
        width = min(self.width, max(1, round(size[1] * scale)))
        return Box((self.height - height) // 2, (self.width - width) // 2, height, width)

    def place(self, plane_HW: np.ndarray, *, border: int) -> np.ndarray:
        """(height, width) a picture's plane of class numbers in the input, by nearest neighbour.

        Args:
            plane_HW: Integers, one a pixel of the picture.
            border: What fills the border.
        """
        box = self.box((plane_HW.shape[0], plane_HW.shape[1]))
        rows = _nearest(plane_HW.shape[0], box.height)
        columns = _nearest(plane_HW.shape[1], box.width)
        placed = np.full((self.height, self.width), border, dtype=plane_HW.dtype)
        placed[box.top : box.top + box.height, box.left : box.left + box.width] = plane_HW[
            np.ix_(rows, columns)
        ]
        return placed


def _nearest(given: int, wanted: int) -> np.ndarray:
    """The rows or columns that nearest neighbour takes, by the centres of pixels."""
    return np.minimum(((np.arange(wanted) + 0.5) * given / wanted).astype(np.int64), given - 1)

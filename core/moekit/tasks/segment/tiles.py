"""Overlapping windows of a large picture, and how their logits are put together.

Shapes: H and W rows and columns of the picture, C classes, h and w rows and columns of the logits
of a window, R and S rows and columns of the whole at the stride of the logits.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from moekit.data.geometry import Box, Frame, Size
from moekit.errors import DataError
from moekit.tasks.segment.enlarge import class_map

LARGEST = 2**30
"""Bytes that the logits of a whole picture may take."""

_LEAST = 0.05


def windows(size: Size, window: Size, *, overlap: float = 0.25) -> tuple[Box, ...]:
    """Windows that cover a picture, row by row, evenly spread.

    Args:
        size: (H, W) of the picture.
        window: Rows and columns of a window; a picture that is smaller in a direction has one
            window there, as long as the picture.
        overlap: Least share of a window that its neighbour covers too, from 0 to below 1.

    Raises:
        ValueError: The overlap is out of its range.
    """
    if not 0 <= overlap < 1:
        raise ValueError(f"the overlap is {overlap}; it is from 0 to below 1")
    rows = _starts(size[0], window[0], overlap)
    columns = _starts(size[1], window[1], overlap)
    height, width = min(window[0], size[0]), min(window[1], size[1])
    return tuple(Box(top, left, height, width) for top in rows for left in columns)


def window_weight(rows: int, columns: int) -> np.ndarray:
    """(rows, columns) float32 in (0, 1], greatest in the middle and little at the border.

    The product of two triangles, with 0.05 as its least factor: what a head says at the border of a
    window knows nothing of what lies beyond.
    """
    down, across = (_triangle(count) for count in (rows, columns))
    weight: np.ndarray = np.outer(down, across).astype(np.float32)
    return weight


class Mosaic:
    """Adds up the logits of windows, weighted, at a fraction of the picture's resolution.

    Memory is C + 1 floats for each place of the whole, whatever the number of windows.

    Args:
        size: (H, W) of the picture.
        classes: C.
        stride: Pixels of the picture to a row or column of the whole.

    Raises:
        DataError: The whole takes more than `LARGEST` bytes.
    """

    def __init__(self, size: Size, classes: int, *, stride: int = 4) -> None:
        self.size = size
        self.stride = stride
        self.rows, self.columns = (math.ceil(side / stride) for side in size)
        needed = 4 * (classes + 1) * self.rows * self.columns
        if needed > LARGEST:
            raise DataError(
                f"the logits of the whole picture take {needed / 2**30:.1f} GiB",
                whose=f"a picture of {size[1]} x {size[0]} pixels",
                fix=f"take a stride of more than {stride}, or cut the picture into parts",
                code="data/too-large",
            )
        self._sum_CRS = torch.zeros(classes, self.rows, self.columns)
        self._weight_RS = torch.zeros(self.rows, self.columns)

    def add(self, box: Box, logit_Chw: Tensor) -> None:
        """Takes the logits of one window.

        Args:
            box: Where the window lies in the picture.
            logit_Chw: (C, h, w) over the whole window, of any resolution.
        """
        top, left = box.top // self.stride, box.left // self.stride
        bottom = min(math.ceil((box.top + box.height) / self.stride), self.rows)
        right = min(math.ceil((box.left + box.width) / self.stride), self.columns)
        part = nn.functional.interpolate(
            logit_Chw[None].float(),
            size=(bottom - top, right - left),
            mode="bilinear",
            align_corners=False,
        )[0]
        weight = torch.from_numpy(window_weight(bottom - top, right - left))
        self._sum_CRS[:, top:bottom, left:right] += part * weight
        self._weight_RS[top:bottom, left:right] += weight

    def logits(self) -> Tensor:
        """(C, R, S) float32, the weighted mean of what windows said.

        Raises:
            ValueError: Windows do not cover the picture.
        """
        if not bool((self._weight_RS > 0).all()):
            raise ValueError("the windows do not cover the picture")
        return self._sum_CRS / self._weight_RS

    def class_map(self) -> np.ndarray:
        """(H, W) the class of each pixel, as of `moekit.tasks.segment.enlarge.class_map`."""
        height, width = self.rows * self.stride, self.columns * self.stride
        whole = class_map(self.logits(), Frame(height=height, width=width), (height, width))
        cut: np.ndarray = whole[: self.size[0], : self.size[1]]
        return cut


def _starts(length: int, window: int, overlap: float) -> list[int]:
    if window >= length:
        return [0]
    count = 1 + math.ceil((length - window) / (window * (1 - overlap)) - 1e-9)
    return [round(place * (length - window) / (count - 1)) for place in range(count)]


def _triangle(count: int) -> np.ndarray:
    away = np.abs((np.arange(count) + 0.5) / count * 2 - 1)
    height: np.ndarray = np.maximum(1 - away, _LEAST)
    return height

"""How the logits of overlapping windows of a large picture are put together.

Shapes: B windows, C classes, h and w rows and columns of the logits of a window, R and S rows and
columns of the whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from moekit.contract.answers import TaskContext
from moekit.contract.outputs import Outputs
from moekit.data.geometry import Box, Size
from moekit.tasks.segment.enlarge import blend, places
from moekit.tasks.segment.head import LOGIT

LARGEST = 2**30
"""Bytes that the logits of a whole picture may take."""
STRIDE = 4
"""Least number of pixels of the picture to a row or column of the whole."""

_LEAST = 0.05


class Mosaic:
    """Adds up the logits of windows, weighted, at a fraction of the picture's resolution.

    Memory is C + 1 floats for each place of the whole, whatever the number of windows. If that
    would be more than `LARGEST` bytes, the stride is twice or four times as long, and so on.

    Args:
        size: (H, W) of the picture.
        context: Says the classes, and how a window lies in the input.

    Attributes:
        shape: R and S.
    """

    def __init__(self, size: Size, context: TaskContext) -> None:
        self._size = size
        self._frame = context.frame
        classes = len(context.classes)
        self.shape = _shape(size, classes)
        self._sum_CRS = torch.zeros(classes, *self.shape)
        self._weight_RS = torch.zeros(self.shape)

    def add(self, boxes: Sequence[Box], outputs: Outputs) -> None:
        """Takes windows.

        Args:
            boxes: (B) where they lie in the picture.
            outputs: Their `logit_BChw`, over the whole input each.
        """
        for box, logit_Chw in zip(boxes, outputs[LOGIT].float().cpu(), strict=True):
            self._add(box, logit_Chw)

    def finish(self) -> Outputs:
        """`logit_BChw`, one row over the whole picture: the weighted mean of what windows said.

        Raises:
            ValueError: Windows do not cover the picture.
        """
        if not bool((self._weight_RS > 0).all()):
            raise ValueError("the windows do not cover the picture")
        return {LOGIT: (self._sum_CRS / self._weight_RS)[None]}

    def _add(self, box: Box, logit_Chw: Tensor) -> None:
        (height, width), (rows, columns) = self._size, self.shape
        inner = self._frame.box((box.height, box.width))
        h, w = logit_Chw.shape[1:]
        down, y = _inside(box.top, box.height, height, rows)
        across, x = _inside(box.left, box.width, width, columns)
        at = places(y, box.height, inner.top, inner.height, self._frame.height, h)
        part_CrS = blend(logit_Chw, at, dim=1)
        at = places(x, box.width, inner.left, inner.width, self._frame.width, w)
        part_Crs = blend(part_CrS, at, dim=2)
        weight_rs = torch.outer(weights(y, box.height), weights(x, box.width))
        self._sum_CRS[:, down, across] += part_Crs * weight_rs
        self._weight_RS[down, across] += weight_rs


def weights(at: Tensor, length: int) -> Tensor:
    """What places of a window count, in (0, 1]: most in its middle and little at its border.

    A triangle with 0.05 as its least value: what a head says at the border of a window knows
    nothing of what lies beyond.

    Args:
        at: (n,) where the places lie, in pixels of the window.
        length: Of the window.
    """
    return (1 - (2 * at / length - 1).abs()).clamp_min(_LEAST).float()


def _shape(size: Size, classes: int) -> tuple[int, int]:
    stride = STRIDE
    while True:
        rows, columns = (math.ceil(side / stride) for side in size)
        if 4 * (classes + 1) * rows * columns <= LARGEST:
            return rows, columns
        stride *= 2


def _inside(start: int, length: int, whole: int, cells: int) -> tuple[slice, Tensor]:
    """The cells whose centres lie in a window, and where, in pixels of the window."""
    first = math.ceil(start * cells / whole - 0.5)
    last = math.ceil((start + length) * cells / whole - 0.5)
    centre = (torch.arange(first, last, dtype=torch.float64) + 0.5) * whole / cells
    return slice(first, last), centre - start

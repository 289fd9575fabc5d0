"""The pixels of found objects: one product of mask features and the kernels of the kept queries.

Shapes: Q queries, K kept ones, F channels, h and w rows and columns of the features over the whole
input, H and W those of the picture, n and m those of the features inside the picture.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from moekit import Frame, TaskContext
from moekit_detection.answers import picked
from moekit_detection.masks.runs import Masks, runs_of
from moekit_detection.records import Objects

FEATURE, KERNEL = "feature_BFhw", "kernel_BQF"
"""Outputs of a head next to its boxes: features of places over the whole input, and for each query
the weights by which their sum is the log-odds that a place belongs to its object."""
MARGIN = 0.25
"""By which share of its sides a box is enlarged on each side, if masks are learned."""
_MARGIN = 0.1
"""The same in answers: less, since the outer part is learned to be empty."""
_TOGETHER = 16


def decode_instances(
    row: Mapping[str, Tensor],
    frame: Frame,
    size: tuple[int, int],
    context: TaskContext | None = None,
) -> Objects:
    """The objects that one item's outputs tell of, with masks, before any threshold.

    Args:
        row: Boxes, features and kernels of the item, without their first dimension.
        frame: How its picture lies in the input.
        size: (H, W) of the picture.
        context: As of `moekit_detection.answers.picked`.
    """
    objects, query_K = picked(row, frame, size, context)
    return with_pixels(objects, query_K, row, frame, size)


def with_pixels(
    objects: Objects,
    query_K: Tensor,
    row: Mapping[str, Tensor],
    frame: Frame,
    size: tuple[int, int],
) -> Objects:
    """Objects with their masks.

    A mask is where the log-odds are positive, enlarged bilinearly, inside of the box and a tenth
    of its sides around it (YOLACT, Bolya et al. 2019, arXiv:1904.02689, cuts at the box).

    Args:
        objects: K.
        query_K: (K,) the query of each.
        row: As of `decode_instances`.
        frame: Likewise.
        size: Likewise.
    """
    feature_Fhw, kernel_QF = row[FEATURE].float(), row[KERNEL].float()
    inside, rows, columns = _inside(feature_Fhw.shape[1:], frame, size)
    feature_FS = feature_Fhw[:, inside[0], inside[1]].flatten(1)
    runs = []
    for first in range(0, len(objects), _TOGETHER):
        part = slice(first, first + _TOGETHER)
        logit_KS = kernel_QF[query_K[part]] @ feature_FS
        plane_Knm = logit_KS.reshape(-1, rows.cells, columns.cells).numpy()
        for plane_nm, box in zip(plane_Knm, objects.box_G4[part].tolist(), strict=True):
            down = _span(box[1], box[3], size[0])
            across = _span(box[0], box[2], size[1])
            tall = _blended(plane_nm, *rows.at(down), axis=0)
            logit = _blended(tall, *columns.at(across), axis=1)
            runs.append(runs_of(logit > 0, (down.start, across.start), size[0]))
    return dataclasses.replace(objects, masks=Masks.of(size, runs))


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Axis:
    """How pixels of the picture lie among cells of the features that are inside it.

    Attributes:
        cells: How many.
        scale: Cells to a pixel.
        start: Where the first pixel begins, in cells.
    """

    cells: int
    scale: float
    start: float

    def at(self, pixels: slice) -> tuple[np.ndarray, np.ndarray]:
        """For each pixel the cell before its middle, and the share of the one after it."""
        middle = np.arange(pixels.start, pixels.stop) + 0.5
        place = np.clip(self.start + middle * self.scale - 0.5, 0, self.cells - 1)
        low = np.minimum(np.floor(place), max(0, self.cells - 2)).astype(np.int64)
        return low, (place - low).astype(np.float32)


def _inside(
    cells: torch.Size, frame: Frame, size: tuple[int, int]
) -> tuple[tuple[slice, slice], _Axis, _Axis]:
    """The cells whose middles lie in the picture; those in the border of a letterbox are no use."""
    box = frame.box(size)
    parts, axes = [], []
    for count, whole, start, length, pixels in (
        (cells[0], frame.height, box.top, box.height, size[0]),
        (cells[1], frame.width, box.left, box.width, size[1]),
    ):
        scale = count / whole
        first = max(0, math.ceil(start * scale - 0.5))
        last = min(count - 1, math.floor((start + length) * scale - 0.5))
        if first > last:  # the picture is thinner than a cell
            first = last = min(count - 1, int((start + length / 2) * scale))
        parts.append(slice(first, last + 1))
        axes.append(
            _Axis(
                cells=last - first + 1, scale=length * scale / pixels, start=start * scale - first
            )
        )
    return (parts[0], parts[1]), axes[0], axes[1]


def _span(start: float, length: float, whole: int) -> slice:
    """The pixels of a box in one direction, with what is around it."""
    around = max(1.0, _MARGIN * length)
    first = max(0, math.floor(start - around))
    return slice(first, max(first + 1, min(whole, math.ceil(start + length + around))))


def _blended(plane: np.ndarray, low: np.ndarray, share: np.ndarray, *, axis: int) -> np.ndarray:
    """A plane at some places of an axis, linear between its cells."""
    high = np.minimum(low + 1, plane.shape[axis] - 1)
    weight = share[:, None] if axis == 0 else share
    below = plane.take(low, axis)
    blended: np.ndarray = below + (plane.take(high, axis) - below) * weight
    return blended

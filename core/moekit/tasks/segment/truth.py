"""The truth of a sample as class numbers: at the size of its picture, or placed in the input.

Shapes: H and W rows and columns of a picture, h and w those of a target.
"""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable, Hashable

import numpy as np

from moekit.data.class_masks import read_classes
from moekit.data.content import stamp_of
from moekit.data.geometry import Frame, Size
from moekit.data.images import read_size
from moekit.data.mask_table import IGNORED
from moekit.data.samples import Sample
from moekit.errors import DataError

STRIDE = 2
"""Rows and columns of the input that one row or column of a target stands for."""

_MOST_BYTES = 256 * 2**20


def has_truth(sample: Sample) -> bool:
    """Whether each pixel's class is known: it has a mask, or it is negative and needs none.

    A sample of class 0 that lists no classes of its own is class 0 in every pixel, as pictures of
    good parts are; `check` refuses sets in which class 0 is not the negative one.
    """
    return sample.mask is not None or (sample.label == 0 and sample.labels is None)


def read_truth(sample: Sample, size: Size, classes: int | None = None) -> np.ndarray:
    """(H, W) int16 class numbers of a sample, `IGNORED` for pixels that do not count.

    Args:
        sample: With a mask, or a negative one (see `has_truth`).
        size: (H, W) of its picture, upright.
        classes: How many classes there are; None if the table of the mask was checked before.

    Raises:
        ImageError: The mask cannot be read, has another size, or holds values that are not listed.
        DataError: There is no mask, or its table leads beyond the classes.
    """
    if sample.mask is None:
        if not has_truth(sample):
            raise DataError(
                "the sample has no mask",
                whose=sample.id,
                fix="add its mask, or leave it out",
                code="data/missing-mask",
            )
        return np.zeros(size, dtype=np.int16)
    plane = read_classes(sample.mask, size, sample.mask_table, image=sample.path)
    if classes is not None and int(plane.max(initial=0)) >= classes:
        raise DataError(
            f"the mask leads to the class number {int(plane.max())}; there are {classes} classes",
            whose=sample.id,
            fix="list the class, or correct the table of the masks",
            code="data/unknown-class",
        )
    return plane


def placed_truth(sample: Sample, frame: Frame, *, stride: int = STRIDE) -> np.ndarray:
    """(h, w) int16 truth as it lies in the input, at one of `stride` rows and columns.

    Of a sample that is a window it is the truth in that window.

    By nearest neighbour at the centres of the target's pixels; borders of a letterbox are
    `IGNORED`. What was placed once is kept in memory, up to 256 MiB in all.

    Args:
        sample: As of `read_truth`.
        frame: How pictures lie in the input; `stride` divides its sides.
        stride: Pixels of the input to one of the target.

    Raises:
        DataError: As of `read_truth`.
    """

    def make() -> np.ndarray:
        plane_HW = read_truth(sample, read_size(sample.path))
        if sample.window is not None:
            top, left, height, width = sample.window
            plane_HW = plane_HW[top : top + height, left : left + width]
        return place(plane_HW, frame, stride=stride)

    if sample.mask is None:
        return make()
    stamp = stamp_of(sample.mask)
    if stamp is None:
        return make()  # which says what is wrong
    table = sample.mask_table
    known = None if table is None else repr(table)
    key = (sample.mask, stamp, known, sample.window, frame, stride)
    return _kept(key, make)


def place(plane_HW: np.ndarray, frame: Frame, *, stride: int = STRIDE) -> np.ndarray:
    """(h, w) a plane of class numbers as it lies in the input, at one of `stride` rows and columns.

    With a stride of 1 it is what `Frame.place` gives with a border of `IGNORED`.
    """
    box = frame.box((plane_HW.shape[0], plane_HW.shape[1]))
    rows, inside_rows = _sources(frame.height // stride, stride, box.top, box.height, len(plane_HW))
    columns, inside_columns = _sources(
        frame.width // stride, stride, box.left, box.width, plane_HW.shape[1]
    )
    placed: np.ndarray = plane_HW[np.ix_(rows, columns)].astype(np.int16)
    placed[~inside_rows] = IGNORED
    placed[:, ~inside_columns] = IGNORED
    return placed


def _sources(
    count: int, stride: int, start: int, length: int, given: int
) -> tuple[np.ndarray, np.ndarray]:
    """(count,) the row of the picture that each row of the target shows; whether there is one."""
    centre = (np.arange(count) + 0.5) * stride - start
    row = np.floor(centre * given / length).astype(np.int64)
    return np.clip(row, 0, given - 1), (centre >= 0) & (centre < length)


class _PlaneCache:
    """Planes by key, the latest used ones, up to a number of bytes."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.held = 0
        self._guard = threading.Lock()
        self._planes: collections.OrderedDict[Hashable, np.ndarray] = collections.OrderedDict()

    def __call__(self, key: Hashable, make: Callable[[], np.ndarray]) -> np.ndarray:
        with self._guard:
            if key in self._planes:
                self._planes.move_to_end(key)
                return self._planes[key]
        plane = make()
        plane.flags.writeable = False
        with self._guard:
            if key not in self._planes:
                self._planes[key] = plane
                self.held += plane.nbytes
            while self.held > self.most and len(self._planes) > 1:
                self.held -= self._planes.popitem(last=False)[1].nbytes
        return plane


_kept = _PlaneCache(_MOST_BYTES)

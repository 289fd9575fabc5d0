"""Logits of an input as class numbers of a picture.

Shapes: C classes, h and w rows and columns of the logits, H and W those of the picture.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moekit.data.geometry import Frame, Size

_MOST_NUMBERS = 4_000_000
"""Logits that are enlarged at a time; the picture is answered in strips of rows."""


def class_map(logit_Chw: Tensor, frame: Frame, size: Size) -> np.ndarray:
    """The class of each pixel of a picture: the greatest of the enlarged logits.

    The borders of a letterbox are cut off, and the rest is enlarged bilinearly, pixels as areas. A
    squashed input gives what `interpolate(align_corners=False)` gives. Of what is
    held in memory only the result grows with the picture.

    Args:
        logit_Chw: (C, h, w) float32 over the whole input.
        frame: How the picture lies in the input.
        size: (H, W) of the picture, upright.

    Returns:
        (H, W) uint8, or uint16 if there are more than 256 classes.
    """
    dtype = np.uint8 if len(logit_Chw) <= 256 else np.uint16
    return _enlarged(logit_Chw, frame, size, _greatest, np.dtype(dtype))


def margin_map(
    logit_Chw: Tensor, frame: Frame, size: Size, background: Collection[int]
) -> np.ndarray:
    """(H, W) float32: by how much the greatest logit of foreground leads that of background.

    Args:
        logit_Chw: As of `class_map`; some class is background and some is not.
        frame: As of `class_map`.
        size: As of `class_map`.
        background: Numbers of the classes that are background.
    """
    back = sorted(background)
    front = [number for number in range(len(logit_Chw)) if number not in background]

    def lead(planes: Sequence[Tensor]) -> Tensor:
        of_front, of_back = (
            functools.reduce(torch.maximum, (planes[number] for number in numbers))
            for numbers in (front, back)
        )
        return of_front - of_back

    return _enlarged(logit_Chw, frame, size, lead, np.dtype(np.float32))


def lowered(logit_Chw: Tensor, background: Collection[int], bias: float) -> Tensor:
    """Logits of which those of background are lower by a bias; the same ones if it is 0."""
    if not bias:
        return logit_Chw
    made = logit_Chw.clone()
    made[sorted(background)] -= bias
    return made


class _Planes(Sequence[Tensor]):
    """The enlarged logits of a strip, (W, rows) of a class, each made when it is asked for.

    Columns come first, since whole rows of memory are then copied.

    Args:
        logit_Chw: As of `class_map`.
        rows: Where the strip's rows lie; see `places`.
        columns: Where the columns lie.
    """

    def __init__(
        self, logit_Chw: Tensor, rows: tuple[Tensor, ...], columns: tuple[Tensor, ...]
    ) -> None:
        self._tall_Cwr = blend(logit_Chw, rows, dim=1).transpose(1, 2).contiguous()
        self._columns = columns

    def __len__(self) -> int:
        return len(self._tall_Cwr)

    def __getitem__(self, number: int) -> Tensor:  # type: ignore[override]
        return blend(self._tall_Cwr[number : number + 1], self._columns, dim=1)[0]


def _greatest(planes: Sequence[Tensor]) -> Tensor:
    """(W, rows) int32: the first class with the greatest logit.

    One class after the other is several times as fast as `argmax` over the first dimension.
    """
    best = planes[0]
    found = torch.zeros(best.shape, dtype=torch.int32)
    for number in range(1, len(planes)):
        plane = planes[number]
        found.masked_fill_(plane > best, number)
        torch.maximum(best, plane, out=best)
    return found


def _enlarged(
    logit_Chw: Tensor,
    frame: Frame,
    size: Size,
    reduce: Callable[[Sequence[Tensor]], Tensor],
    dtype: np.dtype[Any],
) -> np.ndarray:
    """(H, W) what a function makes of the enlarged logits of each pixel, class by class."""
    classes, h, w = logit_Chw.shape
    height, width = size
    box = frame.box(size)
    rows = places(torch.arange(height) + 0.5, height, box.top, box.height, frame.height, h)
    columns = places(torch.arange(width) + 0.5, width, box.left, box.width, frame.width, w)
    strip = max(1, _MOST_NUMBERS // (classes * width))
    answer = np.empty(size, dtype=dtype)
    for top in range(0, height, strip):
        part = tuple(one[top : top + strip] for one in rows)
        answer[top : top + strip] = reduce(_Planes(logit_Chw, part, columns)).numpy().T
    return answer


def places(
    centre: Tensor, count: int, start: int, length: int, whole: int, cells: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The two cells between which each point of a picture lies, and the second one's weight.

    Cells whose centres lie in the border are not used.

    Args:
        centre: (n,) where the points lie, in pixels of the picture.
        count: Pixels of the picture in this direction.
        start: Where the picture begins in the input.
        length: How much of the input it takes.
        whole: Pixels of the input.
        cells: Cells over the whole input.
    """
    scale = cells / whole
    first = math.ceil(start * scale - 0.5)
    last = math.floor((start + length) * scale - 0.5)
    if first > last:  # the picture is thinner than a cell
        first = last = int((start + length / 2) * scale)
    first, last = max(first, 0), min(last, cells - 1)
    at = (start + centre.double() * length / count) * scale - 0.5
    at = at.clamp(first, last)
    low = at.floor().long()
    return low, (low + 1).clamp_max(last), (at - low).float()


def blend(x: Tensor, at: tuple[Tensor, ...], *, dim: int) -> Tensor:
    """`x` at some places of a dimension, linear between cells; see `places`."""
    low, high, share = at
    shape = [1, 1, 1]
    shape[dim] = -1
    below = x.index_select(dim, low)
    return below + (x.index_select(dim, high) - below) * share.reshape(shape)

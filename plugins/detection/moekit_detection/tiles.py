"""How the boxes of overlapping windows of a large picture are put together.

Shapes: B windows, Q queries of a window, C classes, M boxes of all windows.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from moekit import Frame, Outputs, TaskContext
from moekit.data import Box
from moekit_detection.boxes import corners
from moekit_detection.records import BOX, LOGIT

MOST = 2000
"""Boxes of a picture that are kept, the best of all windows."""
_EDGE = 0.01
_COVERED = 0.6
_NEVER = -20.0


class Merged:
    """Moves the boxes of windows into the picture and drops parts that another window shows whole.

    A box that ends at a side of its window which lies inside the picture may be part of an object.
    It is dropped if a box of its class from another window covers most of it and is larger. Objects
    larger than the overlap of windows stay in parts: choose a `tile` that shows them whole. Plain
    doubles of the overlap go when the whole is decoded.

    Args:
        size: (H, W) of the picture.
        context: Says how a window lies in the input.
    """

    def __init__(self, size: tuple[int, int], context: TaskContext) -> None:
        self._size, self._frame = size, context.frame
        self._logits: list[Tensor] = []
        self._boxes: list[Tensor] = []
        self._cut: list[Tensor] = []
        self._window: list[Tensor] = []

    def add(self, boxes: Sequence[Box], outputs: Outputs) -> None:
        """Takes windows.

        Args:
            boxes: (B) where they lie in the picture.
            outputs: Their `logit_BQC` and `box_BQ4`.
        """
        rows = zip(boxes, outputs[LOGIT].cpu(), outputs[BOX].cpu(), strict=True)
        for window, logit_QC, box_Q4 in rows:
            corner_Q4 = _in_window(corners(box_Q4.double()), window, self._frame)
            self._cut.append(_is_cut(corner_Q4, window, self._size))
            start = corner_Q4.new_tensor([window.left, window.top] * 2)
            self._window.append(torch.full((len(box_Q4),), len(self._window)))
            self._logits.append(logit_QC)
            self._boxes.append(corner_Q4 + start)

    def finish(self) -> Outputs:
        """`logit_BQC` and `box_BQ4`, one row over the whole picture."""
        return self.best()[0]

    def best(self) -> tuple[Outputs, Tensor]:
        """What `finish` gives, and (M,) the query of each box, counted through all windows."""
        logit_MC, corner_M4 = torch.cat(self._logits), torch.cat(self._boxes)
        best = logit_MC.amax(1).argsort(descending=True, stable=True)[:MOST]
        logit_MC, corner_M4 = logit_MC[best], corner_M4[best]
        cut_M, window_M = torch.cat(self._cut)[best], torch.cat(self._window)[best]
        part_M = _parts(logit_MC, corner_M4, cut_M, window_M)
        logit_MC = logit_MC.masked_fill(part_M[:, None], _NEVER)
        height, width = self._size
        share_M4 = corner_M4 / corner_M4.new_tensor([width, height] * 2)
        low, high = share_M4[:, :2], share_M4[:, 2:]
        box_M4 = torch.cat([(low + high) / 2, high - low], dim=1).float()
        return {LOGIT: logit_MC[None], BOX: box_M4[None]}, best


def _in_window(corner_Q4: Tensor, window: Box, frame: Frame) -> Tensor:
    """(Q, 4) corners in pixels of a window, cut at its sides, of shares of the input's."""
    inner = frame.box((window.height, window.width))
    pixels = corner_Q4 * corner_Q4.new_tensor([frame.width, frame.height] * 2)
    start = corner_Q4.new_tensor([inner.left, inner.top] * 2)
    side = corner_Q4.new_tensor([window.width, window.height] * 2)
    scale = side / corner_Q4.new_tensor([inner.width, inner.height] * 2)
    return torch.minimum(((pixels - start) * scale).clamp_min(0), side)


def _is_cut(corner_Q4: Tensor, window: Box, size: tuple[int, int]) -> Tensor:
    """(Q,) bool, whether a box ends at a side of the window that lies inside the picture."""
    near = corner_Q4.new_tensor([window.width, window.height] * 2) * _EDGE
    far = corner_Q4.new_tensor([window.width, window.height])
    ends_Q4 = torch.cat([corner_Q4[:, :2], far - corner_Q4[:, 2:]], dim=1) <= near
    inside_4 = torch.tensor(
        [
            window.left > 0,
            window.top > 0,
            window.left + window.width < size[1],
            window.top + window.height < size[0],
        ]
    )
    return (ends_Q4 & inside_4).any(1)


def _parts(logit_MC: Tensor, corner_M4: Tensor, cut_M: Tensor, window_M: Tensor) -> Tensor:
    """(M,) bool, the boxes that are parts of a larger one of their class in another window."""
    part_M = torch.zeros_like(cut_M)
    area_M = (corner_M4[:, 2:] - corner_M4[:, :2]).prod(1)
    label_M, score_M = logit_MC.argmax(1), logit_MC.amax(1).sigmoid()
    for row in cut_M.nonzero()[:, 0].tolist():
        low = torch.maximum(corner_M4[:, :2], corner_M4[row, :2])
        high = torch.minimum(corner_M4[:, 2:], corner_M4[row, 2:])
        shared_M = (high - low).clamp_min(0).prod(1)
        covers_M = shared_M >= _COVERED * area_M[row]
        other_M = (window_M != window_M[row]) & (label_M == label_M[row])
        larger_M = (area_M > area_M[row]) & (score_M >= 0.5 * score_M[row])
        part_M[row] = bool((covers_M & other_M & larger_M).any())
    return part_M

"""How the masks of overlapping windows of a large picture are put together.

A mask is made by the window that found its object: the kernel of a query reads the features of its
own window only. Windows that do not overlap share a layer of the features of the whole picture, so
that there are as many layers as windows that overlap at one place, four as a rule.

Shapes: B windows, Q queries of a window, M boxes of all windows, F channels, L layers, h and w rows
and columns of a window's features, n and m those of the features of the whole picture.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from moekit import Frame, Outputs, TaskContext
from moekit.data import Box
from moekit_detection.instances.pixels import FEATURE, KERNEL
from moekit_detection.tiles import Merged


class MergedMasks:
    """Puts windows together; see `moekit_detection.tiles.Merged` for boxes.

    Args:
        size: (H, W) of the picture.
        context: Says how a window lies in the input.
    """

    def __init__(self, size: tuple[int, int], context: TaskContext) -> None:
        self._boxes = Merged(size, context)
        self._size, self._frame = size, context.frame
        self._windows: list[Box] = []
        self._features: list[Tensor] = []
        self._kernels: list[Tensor] = []

    def add(self, boxes: Sequence[Box], outputs: Outputs) -> None:
        """Takes windows.

        Args:
            boxes: (B) where they lie in the picture.
            outputs: Their boxes, features and kernels.
        """
        self._boxes.add(boxes, outputs)
        self._windows += boxes
        self._features += outputs[FEATURE].cpu().float().unbind(0)
        self._kernels += outputs[KERNEL].cpu().float().unbind(0)

    def finish(self) -> Outputs:
        """Boxes, features and kernels, one row over the whole picture."""
        found, query_M = self._boxes.best()
        layers = _layers(self._windows)
        channels, count = len(self._features[0]), max(layers) + 1
        window_M = torch.repeat_interleave(
            torch.arange(len(self._windows)), torch.tensor([len(one) for one in self._kernels])
        )[query_M]
        kernel_MF = torch.cat(self._kernels)[query_M]
        kernel_MLF = kernel_MF.new_zeros(len(kernel_MF), count, channels)
        kernel_MLF[torch.arange(len(kernel_MF)), torch.tensor(layers)[window_M]] = kernel_MF
        return {**found, FEATURE: self._whole(layers, count), KERNEL: kernel_MLF.flatten(1)[None]}

    def _whole(self, layers: Sequence[int], count: int) -> Tensor:
        """(1, L * F, n, m) the features of each layer's windows, zero if it has none."""
        first, window = self._features[0], self._windows[0]
        inner = self._frame.box((window.height, window.width))
        rows = first.shape[1] * inner.height / (self._frame.height * window.height)
        columns = first.shape[2] * inner.width / (self._frame.width * window.width)
        cells = max(1, round(rows * self._size[0])), max(1, round(columns * self._size[1]))
        whole = first.new_zeros(count, len(first), *cells)
        for feature_Fhw, box, layer in zip(self._features, self._windows, layers, strict=True):
            down, at_y = _cells(box.top, box.height, self._size[0], cells[0])
            across, at_x = _cells(box.left, box.width, self._size[1], cells[1])
            whole[layer, :, down, across] = _sampled(feature_Fhw, at_y, at_x, box, self._frame)
        return whole.flatten(0, 1)[None]


def _layers(windows: Sequence[Box]) -> list[int]:
    """The layer of each window; those of one layer do not overlap."""
    downs = _colours([(one.top, one.height) for one in windows])
    acrosses = _colours([(one.left, one.width) for one in windows])
    most = max(acrosses) + 1
    return [down * most + across for down, across in zip(downs, acrosses, strict=True)]


def _colours(spans: Sequence[tuple[int, int]]) -> list[int]:
    """A number for each span (start, length), equal ones for spans that do not overlap only."""
    starts = sorted({start for start, _ in spans})
    length = max(length for _, length in spans)
    most = max(bisect.bisect_left(starts, one + length) - k for k, one in enumerate(starts))
    return [bisect.bisect_left(starts, start) % most for start, _ in spans]


def _cells(start: int, length: int, whole: int, count: int) -> tuple[slice, Tensor]:
    """The cells of the whole whose middles lie in a window, and these middles in its pixels."""
    side = whole / count
    first = max(0, math.ceil(start / side - 0.5))
    last = max(first, min(count - 1, math.ceil((start + length) / side - 0.5) - 1))
    middle = (torch.arange(first, last + 1) + 0.5) * side
    return slice(first, last + 1), middle - start


def _sampled(feature_Fhw: Tensor, at_y: Tensor, at_x: Tensor, window: Box, frame: Frame) -> Tensor:
    """(F, n, m) a window's features at places of it in pixels, linear between its cells."""
    inner = frame.box((window.height, window.width))
    y = (inner.top + at_y * inner.height / window.height) / frame.height
    x = (inner.left + at_x * inner.width / window.width) / frame.width
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
    sampled: Tensor = nn.functional.grid_sample(
        feature_Fhw[None], 2 * grid[None] - 1, padding_mode="border", align_corners=False
    )
    return sampled[0]

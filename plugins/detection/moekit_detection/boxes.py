"""Boxes as tensors: forms, moves and encodings.

Shapes: ... any leading axes, F width. A box is (cx, cy, w, h), shares of the input's sides; its
corners are (x0, y0, x1, y1).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

LEAST = 1e-3
"""Least width and height of a box, as shares of the input's sides."""
_FASTEST = 4.0
_TEMPERATURE = 20.0
_EPSILON = 1e-9


def corners(box: Tensor) -> Tensor:
    """(..., 4) corners of boxes."""
    centre, side = box[..., :2], box[..., 2:]
    return torch.cat([centre - side / 2, centre + side / 2], dim=-1)


def from_corners(corner: Tensor) -> Tensor:
    """(..., 4) boxes of corners."""
    low, high = corner[..., :2], corner[..., 2:]
    return torch.cat([(low + high) / 2, high - low], dim=-1)


def overlaps(corner: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Intersection over union of boxes, and the generalised one (Rezatofighi et al. 2019).

    Args:
        corner: (..., 4) corners.
        other: The same, or what is broadcast with them: (M, 1, 4) and (1, N, 4) give all pairs.

    Returns:
        IoU in [0, 1] and generalised IoU in [-1, 1], (...) each.
    """
    shared = _area(
        torch.maximum(corner[..., :2], other[..., :2]),
        torch.minimum(corner[..., 2:], other[..., 2:]),
    )
    hull = _area(
        torch.minimum(corner[..., :2], other[..., :2]),
        torch.maximum(corner[..., 2:], other[..., 2:]),
    )
    both = _area(corner[..., :2], corner[..., 2:]) + _area(other[..., :2], other[..., 2:]) - shared
    iou = shared / both.clamp_min(_EPSILON)
    return iou, iou - (hull - both) / hull.clamp_min(_EPSILON)


def _area(low: Tensor, high: Tensor) -> Tensor:
    return (high - low).clamp_min(0).prod(-1)


def inside(box: Tensor) -> Tensor:
    """Boxes with centres in the picture and sides of `LEAST` to 1."""
    return torch.cat([box[..., :2].clamp(0.0, 1.0), box[..., 2:].clamp(LEAST, 1.0)], dim=-1)


def moved(anchor: Tensor, step: Tensor) -> Tensor:
    """Anchors moved by parts of their own sides, and scaled (Ren et al. 2015, arXiv:1506.01497).

    Args:
        anchor: (..., 4) boxes.
        step: (..., 4) how far the centre moves, in sides; logarithms of the factors of the sides.
    """
    side = anchor[..., 2:]
    centre = anchor[..., :2] + step[..., :2] * side
    scale = step[..., 2:].clamp(-_FASTEST, _FASTEST).exp()
    return inside(torch.cat([centre, side * scale], dim=-1))


def encoded(box: Tensor, width: int) -> Tensor:
    """(..., F) sines and cosines of the four numbers of boxes (Liu et al. 2022, arXiv:2201.12329).

    Args:
        box: (..., 4).
        width: F, a multiple of 8.
    """
    count = width // 8
    power = torch.arange(count, device=box.device, dtype=box.dtype) / count
    rate = 2 * math.pi * _TEMPERATURE**power
    angle = (box[..., None] * rate).flatten(-2)
    return torch.cat([angle.sin(), angle.cos()], dim=-1)

"""Masks as annotations hold them, polygons or run lengths, made into runs of the upright picture.

Shapes: n runs, H and W rows and columns of the upright picture.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from moekit import DataError
from moekit.tasks.segment import expand_runs
from moekit_detection.loaders.repairs import Repairs, Shape
from moekit_detection.loaders.upright import Header
from moekit_detection.masks.polygons import polygon_runs
from moekit_detection.masks.runs import Masks, runs_of, runs_of_counts, united

_POINTS = 3
_SLACK = 1.0
_LEAST_SHARE = 0.1
"""Of the larger of box and mask: a mask that shares less with its box belongs to another object."""
_FARTHEST = 4
"""Sides of the picture beyond which a point of an outline can be no slip."""


def with_masks(
    shapes: Sequence[Shape], header: Header, stored: tuple[int, int] | None, repairs: Repairs
) -> list[Shape]:
    """Objects of a picture with the pixels that their annotations give them.

    Args:
        shapes: With upright boxes, and outlines as they are annotated.
        header: Of the picture, which can be read.
        stored: (H, W) that the annotations are of; None if they do not say.
        repairs: Takes what was done.
    """
    assert header.size is not None
    size = header.size if stored is None else stored
    turned = header.turned and size != header.size
    made = []
    for shape in shapes:
        runs = _runs(shape, size, repairs)
        if runs is not None and turned:
            runs = _upright(runs, size, header.orientation)
        made.append(dataclasses.replace(shape, mask=runs))
    return made


def tell_elsewhere(shapes: Sequence[Shape], size: tuple[int, int], repairs: Repairs) -> None:
    """Counts the masks that lie elsewhere than the boxes of their objects.

    Args:
        shapes: Upright, with their masks.
        size: (H, W) of the picture.
        repairs: Takes the count.
    """
    both = [shape for shape in shapes if shape.mask is not None]
    found_G4 = Masks.of(size, [shape.mask for shape in both if shape.mask is not None]).box_G4
    for shape, found in zip(both, found_G4, strict=True):
        said = np.asarray(shape.box, dtype=np.float64)
        low = np.maximum(said[:2], found[:2])
        high = np.minimum(said[:2] + said[2:], found[:2] + found[2:])
        shared = float(np.maximum(high - low, 0).prod())
        if shared < _LEAST_SHARE * max(said[2:].prod(), found[2:].prod()):
            repairs.add("mask elsewhere", shape.name)


def box_of_runs(outline: Any) -> list[float] | None:
    """The box around run lengths; None if they cannot be read."""
    if not isinstance(outline, dict):
        return None
    try:
        height, width = outline["size"]
        box_14 = Masks.of((height, width), [_read(outline, (height, width))]).box_G4
    except (DataError, LookupError, TypeError, ValueError, OverflowError):
        return None
    box: list[float] = box_14[0].tolist()
    return box if box[2] else None


def runs_of_outline(
    outline: Any, size: tuple[int, int], told: Callable[[str], None] = lambda _: None
) -> tuple[np.ndarray | None, str]:
    """(n, 2) the pixels of a mask as COCO has it, or None and what is wrong with it.

    Args:
        outline: Polygons or run lengths; anything.
        size: (H, W) of the picture.
        told: Called with the kind of each repair, see `moekit_detection.loaders.repairs`.
    """
    if isinstance(outline, dict):
        told_size = outline.get("size")
        if not isinstance(told_size, list) or told_size != list(size):
            return None, "mask size"
        try:
            return _read(outline, size), ""
        except (DataError, LookupError, TypeError, ValueError, OverflowError):
            return None, "mask damaged"
    parts = _polygons(outline, size, told)
    if parts is None:
        return None, "mask damaged"
    return united([polygon_runs(part, size) for part in parts]), ""


def _runs(shape: Shape, size: tuple[int, int], repairs: Repairs) -> np.ndarray | None:
    """(n, 2) the pixels of an object as annotated; None if it has no mask that can be used."""
    if not shape.outline:
        return None

    def told(kind: str) -> None:
        repairs.add(kind, shape.name)

    runs, fault = runs_of_outline(shape.outline, size, told)
    if runs is not None and not len(runs):
        fault = "mask empty"
    if fault:
        told(fault)
        return None
    return runs


def _read(outline: Any, size: tuple[int, int]) -> np.ndarray:
    counts = outline["counts"]
    if isinstance(counts, str):
        counts = expand_runs(counts)
    elif not all(isinstance(one, int) and not isinstance(one, bool) for one in counts):
        raise ValueError("a run length is no whole number")
    return runs_of_counts(counts, size)


def _polygons(
    outline: Any, size: tuple[int, int], told: Callable[[str], None]
) -> list[np.ndarray] | None:
    """Corners of the polygons of a mask; None if one of them is none."""
    if not isinstance(outline, list):
        return None
    side = np.array([size[1], size[0]], dtype=np.float64)
    parts, beyond = [], False
    for one in outline:
        if not isinstance(one, list) or len(one) % 2:
            return None
        try:
            points = np.asarray(one, dtype=np.float64).reshape(-1, 2)
        except (TypeError, ValueError):
            return None
        if not np.isfinite(points).all() or (np.abs(points) > _FARTHEST * side).any():
            return None
        if len(points) < _POINTS:
            told("few points")
            continue
        beyond |= bool((points < -_SLACK).any() or (points > side + _SLACK).any())
        parts.append(points)
    if beyond:
        told("mask cut")
    return parts


def _upright(runs: np.ndarray, stored: tuple[int, int], orientation: int) -> np.ndarray:
    """(n, 2) runs of the upright picture, of a picture that is stored turned by a quarter."""
    (top, left), pixels = Masks.of(stored, [runs]).crop(0)
    down, across = pixels.shape
    pixels = pixels.T
    # The stored picture's columns are the upright one's rows.
    row, column = left, top
    if orientation in (6, 7):
        pixels, column = pixels[:, ::-1], stored[0] - top - down
    if orientation in (7, 8):
        pixels, row = pixels[::-1], stored[1] - left - across
    return runs_of(pixels, (row, column), stored[1])

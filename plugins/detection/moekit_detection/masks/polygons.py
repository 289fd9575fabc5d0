"""Polygons as pixels, the same ones that pycocotools takes.

The rule is that of `rleFrPoly` (cocoapi; Lin et al. 2014, arXiv:1405.0312): corners are rounded to
fifths of a pixel, and a column's pixels change where the outline passes its middle.

Shapes: P corners, M points along the outline.
"""

from __future__ import annotations

import numpy as np

from moekit_detection.masks.runs import united

_FINE = 5


def polygon_runs(corner_P2: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(n, 2) runs of the pixels inside a polygon; what lies outside of the picture is cut.

    Args:
        corner_P2: (P, 2) x and y, in pixels of the picture.
        size: (H, W) of the picture.
    """
    height, width = size
    x_M, y_M = _outline(np.trunc(_FINE * np.asarray(corner_P2, dtype=np.float64) + 0.5))
    passes = np.flatnonzero(np.diff(x_M)) + 1
    step = np.where(x_M[passes] < x_M[passes - 1], 0, 1)
    column = (x_M[passes] - step + 0.5) / _FINE - 0.5
    row = (np.minimum(y_M[passes], y_M[passes - 1]) + 0.5) / _FINE - 0.5
    kept = (np.floor(column) == column) & (column >= 0) & (column <= width - 1)
    number = column[kept] * height + np.ceil(np.clip(row[kept], 0, height))
    edge, times = np.unique(number.astype(np.int64), return_counts=True)
    edge = edge[times % 2 == 1]
    if len(edge) % 2:
        edge = np.append(edge, height * width)
    return united([edge.reshape(-1, 2)])


def _outline(corner_P2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(M,) whole x and (M,) whole y of the points of a closed outline, a step of 1 at a time."""
    after_P2 = np.roll(corner_P2, -1, axis=0)
    away_P2 = np.abs(after_P2 - corner_P2)
    flat_P = away_P2[:, 0] >= away_P2[:, 1]
    steps_P = away_P2.max(1)
    along_P = np.where(flat_P, 0, 1)
    edge = np.arange(len(corner_P2))
    back_P = corner_P2[edge, along_P] > after_P2[edge, along_P]
    first_P2 = np.where(back_P[:, None], after_P2, corner_P2)
    last_P2 = np.where(back_P[:, None], corner_P2, after_P2)
    rise_P = (last_P2 - first_P2)[edge, 1 - along_P] / np.maximum(steps_P, 1)
    count_P = (steps_P + 1).astype(np.int64)
    edge_M = np.repeat(edge, count_P)
    step_M = np.arange(len(edge_M)) - np.repeat(np.cumsum(count_P) - count_P, count_P)
    step_M = np.where(back_P[edge_M], steps_P[edge_M] - step_M, step_M)
    whole_M = step_M + first_P2[edge_M, along_P[edge_M]]
    part_M = np.trunc(first_P2[edge_M, 1 - along_P[edge_M]] + rise_P[edge_M] * step_M + 0.5)
    flat_M = flat_P[edge_M]
    return np.where(flat_M, whole_M, part_M), np.where(flat_M, part_M, whole_M)

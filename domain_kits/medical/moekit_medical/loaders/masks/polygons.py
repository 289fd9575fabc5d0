"""Polygons as pixels.

Shapes: N corners, H rows, W columns.
"""

from __future__ import annotations

import numpy as np


def fill_polygon(corner_N2: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The pixels whose centres lie within a polygon, by the even-odd rule.

    A centre exactly on an edge belongs to the polygon on one side of it only, so polygons that
    share an edge share no pixel. A keyhole (PS3.3 C.8.8.6.3) is a hole by the same rule.

    Args:
        corner_N2: (N, 2) rows and columns, fractions allowed; pixel centres are whole numbers. The
            last corner joins the first one.
        size: H and W.

    Returns:
        (H, W) bool.
    """
    height, width = size
    filled_HW = np.zeros(size, dtype=bool)
    if len(corner_N2) < 3:
        return filled_HW
    first = max(0, int(np.floor(corner_N2[:, 0].min())))
    last = min(height - 1, int(np.ceil(corner_N2[:, 0].max())))
    following_N2 = np.roll(corner_N2, -1, axis=0)
    for row in range(first, last + 1):
        crossing_K = _crossings(corner_N2, following_N2, row)
        start_K = np.ceil(crossing_K).clip(0, width).astype(np.int64)
        toggle = np.bincount(start_K, minlength=width + 1)[:width]
        filled_HW[row] = np.cumsum(toggle) % 2 == 1
    return filled_HW


def _crossings(corner_N2: np.ndarray, following_N2: np.ndarray, row: int) -> np.ndarray:
    """(K,) the columns at which edges cross the line through the centres of a row."""
    above_N, below_N = corner_N2[:, 0] <= row, following_N2[:, 0] <= row
    cross_N = above_N != below_N
    start_K2, end_K2 = corner_N2[cross_N], following_N2[cross_N]
    share_K = (row - start_K2[:, 0]) / (end_K2[:, 0] - start_K2[:, 0])
    crossing_K: np.ndarray = start_K2[:, 1] + share_K * (end_K2[:, 1] - start_K2[:, 1])
    return crossing_K

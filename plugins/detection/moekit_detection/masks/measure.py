"""Length and width of masks: the sides of the smallest rectangle around their pixels, at any angle.

Shapes: P corners of pixels, E edges of their hull.
"""

from __future__ import annotations

import numpy as np

from moekit_detection.masks.runs import Masks


def length_and_width(masks: Masks, place: int) -> tuple[float, float]:
    """The longer and the shorter side, in pixels, of the rectangle of least area around a mask.

    One side of it lies on an edge of the convex hull (Freeman and Shapira 1975, Communications of
    the ACM 18:409-413). A pixel is a square, so that a row of five has the sides 5 and 1. Of a bent
    object the length is that of the rectangle, not that along the bend.

    Args:
        masks: Of a picture.
        place: Which of them; 0 and 0 of an empty one.
    """
    from scipy.spatial import ConvexHull  # type: ignore[import-untyped]

    _, pixels = masks.crop(place)
    if not pixels.any():
        return 0.0, 0.0
    columns = np.flatnonzero(pixels.any(0))
    top = pixels[:, columns].argmax(0)
    bottom = len(pixels) - pixels[::-1, columns].argmax(0)
    corner_P2 = np.concatenate(
        [np.stack([columns + right, row], 1) for right in (0, 1) for row in (top, bottom)]
    ).astype(np.float64)
    hull_E2 = corner_P2[ConvexHull(corner_P2).vertices]
    edge_E2 = np.roll(hull_E2, -1, axis=0) - hull_E2
    along_E2 = edge_E2 / np.hypot(*edge_E2.T)[:, None]
    across_E2 = np.stack([-along_E2[:, 1], along_E2[:, 0]], axis=1)
    sides_E2 = np.stack(
        [np.ptp(hull_E2 @ direction.T, axis=0) for direction in (along_E2, across_E2)], axis=1
    )
    least = sides_E2[int(sides_E2.prod(1).argmin())]
    return float(least.max()), float(least.min())

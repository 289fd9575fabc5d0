"""Pixels near the boundary of their region, and how far two answers agree on them.

Boundary IoU: Cheng et al. 2021, arXiv:2103.16562, with a distance of 2% of the picture's diagonal.

Shapes: H and W rows and columns of a picture, C classes.
"""

from __future__ import annotations

import math

import numpy as np

from moekit.data.mask_table import IGNORED

SHARE = 0.02
"""Of the diagonal, how far the band reaches."""

_OUTSIDE = IGNORED - 1


def band_width(size: tuple[int, int]) -> int:
    """Pixels that the band of a picture of (H, W) reaches inwards, one at least."""
    return max(1, round(SHARE * math.hypot(*size)))


def boundary_band(class_HW: np.ndarray, distance: int) -> np.ndarray:
    """(H, W) bool: pixels at most `distance` away from a pixel of another class or the outside.

    Distances are the greater of rows and columns, as by repeated erosion with 3 x 3 pixels in the
    authors' code.

    Args:
        class_HW: (H, W) integers.
        distance: In pixels.
    """
    from scipy import ndimage  # type: ignore[import-untyped]

    plane = class_HW.astype(np.int16)
    side = 2 * distance + 1
    low, high = plane, plane
    for axis in (0, 1):
        low = ndimage.minimum_filter1d(low, side, axis, mode="constant", cval=_OUTSIDE)
        high = ndimage.maximum_filter1d(high, side, axis, mode="nearest")
    band: np.ndarray = low != high
    return band


def boundary_counts(answer_HW: np.ndarray, truth_HW: np.ndarray, classes: int) -> np.ndarray:
    """(C, 3) int64: of each class the pixels of both bands, of the answer's and of the truth's.

    Pixels that do not count in truth are cut out of the answer too, so that a region ends there in
    both.

    Args:
        answer_HW: (H, W) class numbers.
        truth_HW: (H, W) class numbers, `IGNORED` for pixels that do not count.
        classes: C.
    """
    counted = truth_HW != IGNORED
    answer = np.where(counted, answer_HW, IGNORED).astype(np.int16)
    distance = band_width((truth_HW.shape[0], truth_HW.shape[1]))
    of_answer = boundary_band(answer, distance) & counted
    of_truth = boundary_band(truth_HW, distance) & counted
    both = of_answer & of_truth & (answer == truth_HW)
    return np.stack(
        [
            np.bincount(plane[chosen], minlength=classes)
            for plane, chosen in ((answer, both), (answer, of_answer), (truth_HW, of_truth))
        ],
        axis=1,
    ).astype(np.int64)

"""Axial slices as pictures of 8 bits: what the segmenting run is trained on and answers.

Shapes: H rows, W columns.
"""

from __future__ import annotations

import numpy as np

from moekit_medical.loaders.crops import WINDOW_HU

WINDOW_WORDS = f"{WINDOW_HU[0]:g} to {WINDOW_HU[1]:g} HU"


def slice_picture(hu_HW: np.ndarray) -> np.ndarray:
    """A slice with `WINDOW_HU` as 0 to 255; what is no number becomes 0.

    Args:
        hu_HW: (H, W) in Hounsfield units.

    Returns:
        (H, W) uint8.
    """
    low, high = WINDOW_HU
    known_HW = np.nan_to_num(hu_HW, nan=low, posinf=high, neginf=low)
    share_HW = (known_HW.clip(low, high) - low) / (high - low)
    picture_HW: np.ndarray = np.rint(share_HW * 255).astype(np.uint8)
    return picture_HW

"""Hounsfield units: whether values can be such, of a CT of anything, and how they are shown.

A wrong sign, slope, intercept or number of bits moves values to where no CT has them. Scanners
reach from -1024 to 3071 HU, of metal to about 30,000; noise in air goes below -1024, and what lies
outside the field of view is padded with one low value, often without a word in the header.

Shapes: D slices, H rows, W columns.
"""

from __future__ import annotations

import numpy as np

AIR_HU = -1024.0
"""The least that a 12-bit CT value stands for."""

LOWEST_HU, HIGHEST_HU = -1500.0, 3071.0
MOST_BEYOND = 0.25
"""Share of the voxels of a slice that may lie beyond, padding aside; metal and noise are less."""

METAL_HU = 31_000.0
"""Scanners with an extended scale end at 30,710 HU."""

MOST_ABOVE_METAL = 0.01
_MOST_NAMED = 8

WINDOW_HU = (-1000.0, 400.0)
"""What pictures show: that of the LUNA16 crops; lung and soft tissue."""
WINDOW_WORDS = f"{WINDOW_HU[0]:g} to {WINDOW_HU[1]:g} HU"


def why_no_hounsfield(hu_DHW: np.ndarray) -> str:
    """Says why values cannot be Hounsfield units, in words that hold nothing of the patient.

    Args:
        hu_DHW: (D, H, W), finite.

    Returns:
        A reason, or an empty text.
    """
    for number, hu_HW in enumerate(hu_DHW, 1):
        low_HW = hu_HW < LOWEST_HU
        count = hu_HW.size - _padding(hu_HW[low_HW])
        beyond = int(low_HW.sum()) - (hu_HW.size - count) + int((hu_HW > HIGHEST_HU).sum())
        metal = int((hu_HW > METAL_HU).sum())
        if beyond > MOST_BEYOND * count or metal > MOST_ABOVE_METAL * count:
            least, most = float(hu_HW.min()), float(hu_HW.max())
            return (
                f"slice {number} of {len(hu_DHW)} has values from {least:.0f} to {most:.0f},"
                f" {beyond / count:.0%} of them none that a CT has in Hounsfield units"
            )
    return ""


def words_of_one_value(hu_DHW: np.ndarray) -> list[str]:
    """That slices, or all voxels, have one value each, as a sentence; none of a usual scan.

    Noise is in each slice that a scanner makes; programs put slices of one value in the place of
    lost ones, or around a volume.

    Args:
        hu_DHW: (D, H, W).
    """
    flat = [number for number, hu_HW in enumerate(hu_DHW, 1) if hu_HW.min() == hu_HW.max()]
    if not flat:
        return []
    if len(flat) == len(hu_DHW) and hu_DHW.min() == hu_DHW.max():
        return [f"All voxels have one value, {float(hu_DHW.flat[0]):g} HU; this is no scan."]
    named = ", ".join(map(str, flat[:_MOST_NAMED]))
    more = f" and {len(flat) - _MOST_NAMED} more" if len(flat) > _MOST_NAMED else ""
    return [f"Slices of one value each: {len(flat)} of {len(hu_DHW)} (number {named}{more})."]


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


def _padding(low_N: np.ndarray) -> int:
    """How many values are the most frequent of the low ones."""
    if not low_N.size:
        return 0
    return int(np.unique(low_N, return_counts=True)[1].max())

"""Whether values can be Hounsfield units, those of a CT of anything.

A wrong sign, slope, intercept or number of bits moves values to where no CT has them. Scanners
reach from -1024 to 3071 HU, of metal to about 30,000; noise in air goes below -1024, and what lies
outside the field of view is padded with one low value, often without a word in the header.
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


def _padding(low_N: np.ndarray) -> int:
    """How many values are the most frequent of the low ones."""
    if not low_N.size:
        return 0
    return int(np.unique(low_N, return_counts=True)[1].max())

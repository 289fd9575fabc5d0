"""Whether a mask and a volume speak of the same voxels.

Shapes: D slices, H rows, W columns, N points.
"""

from __future__ import annotations

import numpy as np

from moekit_medical.volume import Volume

PLANE_TOLERANCE = 0.1
"""By what share of a step a mask's plane may miss the slice that it belongs to."""

PLANE_TOLERANCE_MM = 0.05
"""The same in mm, if that is more: coordinates are written with few digits."""


class MaskError(Exception):
    """A mask cannot be used; the message says why and holds nothing of the patient."""


def slice_of(index_N3: np.ndarray, volume: Volume) -> int:
    """The slice in whose plane all points lie.

    Args:
        index_N3: (N, 3) fractional voxel indices (d, h, w), at least one.
        volume: (D, H, W).

    Raises:
        MaskError: The points lie in no plane of the volume.
    """
    depth_N = index_N3[:, 0]
    nearest = round(float(np.median(depth_N)))
    tolerance = max(PLANE_TOLERANCE, PLANE_TOLERANCE_MM / volume.spacing_mm[0])
    if not np.abs(depth_N - nearest).max() <= tolerance:
        raise MaskError("a plane of it lies between the slices of the series")
    if not 0 <= nearest < len(volume.hu_DHW):
        raise MaskError("a plane of it lies beyond the slices of the series")
    return nearest


def check_frame(stated: str, volume: Volume) -> None:
    """Checks that coordinates mean the same in a mask and in a volume (PS3.3 C.7.4.1).

    Args:
        stated: FrameOfReferenceUID that the mask names.
        volume: The volume.

    Raises:
        MaskError: They do not, or one of the two does not say.
    """
    if not stated:
        raise MaskError("it names no frame of reference")
    if volume.frame_of_reference_uid is None:
        raise MaskError("the series names no frame of reference")
    if stated != volume.frame_of_reference_uid:
        raise MaskError("its frame of reference is another than that of the series")


def check_own_slices(volume: Volume) -> None:
    """Checks that each slice of a volume is one of the series, so that a mask can belong to it.

    Raises:
        MaskError: Slices were interpolated when the series was read.
    """
    if volume.is_interpolated:
        raise MaskError("slices of the series were interpolated, so no mask belongs to them")


def dice(first_DHW: np.ndarray, second_DHW: np.ndarray) -> float:
    """The Dice coefficient of two masks in [0, 1]; 1 if both are empty.

    Args:
        first_DHW: bool.
        second_DHW: bool, of the same shape.
    """
    total = int(first_DHW.sum()) + int(second_DHW.sum())
    return 2 * int((first_DHW & second_DHW).sum()) / total if total else 1.0

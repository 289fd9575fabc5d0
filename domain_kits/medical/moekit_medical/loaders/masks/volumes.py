"""Lesions of a NIfTI label volume: every value but zero.

Shapes: D slices, H rows, W columns.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from moekit_medical.loaders.crops import CropError, Scan, turn_to_patient
from moekit_medical.loaders.masks.grid import MaskError
from moekit_medical.loaders.nifti_file import read_values
from moekit_medical.volume import Volume

_BESIDE = 0.1
"""By what share of a voxel a corner of the label may miss that of the volume."""


def place_label(path: Path, volume: Volume) -> np.ndarray:
    """The voxels of a label that lies on the grid of a volume, whatever the order of its axes.

    Args:
        path: A .nii or .nii.gz file of whole numbers.
        volume: (D, H, W).

    Returns:
        (D, H, W) bool.

    Raises:
        MaskError: It cannot be read, holds other numbers, says nothing of its place, or has another
            size or geometry than the volume.
    """
    try:
        label = read_values(path)
    except CropError as error:
        raise MaskError(str(error)) from None
    if not label.place.is_placed:
        raise MaskError("the label does not say where the patient is")
    scan = label.scan
    values_DHW = scan.hu_DHW
    if not (np.isfinite(values_DHW).all() and (values_DHW == np.rint(values_DHW)).all()):
        raise MaskError("the label holds values that are not whole numbers")
    turned = turn_to_patient(volume.hu_DHW, volume.affine)
    if values_DHW.shape != turned.hu_DHW.shape:
        raise MaskError("the label has another size than the series")
    if not _beside(scan, turned) <= _BESIDE:
        raise MaskError("the voxels of the label do not lie on those of the series")
    mask_DHW = np.zeros(volume.hu_DHW.shape, dtype=bool)
    # A view: what is written into it lies in the volume's own order.
    turn_to_patient(mask_DHW, volume.affine).hu_DHW[...] = values_DHW != 0
    return mask_DHW


def _beside(label: Scan, turned: Scan) -> float:
    """The greatest distance of two corners, in voxels of the volume."""
    last = np.array(turned.hu_DHW.shape) - 1
    corner_83 = np.stack(np.meshgrid(*[(0, one) for one in last], indexing="ij"), -1).reshape(-1, 3)
    place_83 = corner_83 @ label.affine[:3, :3].T + label.affine[:3, 3]
    index_83 = np.linalg.solve(turned.affine[:3, :3], (place_83 - turned.affine[:3, 3]).T).T
    return float(np.abs(index_83 - corner_83).max())

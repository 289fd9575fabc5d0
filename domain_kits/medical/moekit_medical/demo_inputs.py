"""What the demonstration predicts: a folder of real files, and a volume made of one real slice."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from moekit import DataError
from moekit.files import atomic_path
from moekit_medical.loaders.ct_slices import DemoSlice, read_slice, test_files
from moekit_medical.volume import Volume

SLICES = 24
STEP_MM = 5.0
BALLS = {6: 40, 12: 400, 18: 1000}
"""HU of the balls by the slice in which each is centred: soft, denser, densest."""

RADIUS_MM = 5.0
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def demo_inputs(folder: Path) -> Mapping[str, Path]:
    """Inputs of `moekit predict` by name.

    `dicom_files` are pydicom's own test files: what the assembler says of each is real. No package
    has a series of a chest, so `made_volume` is one real slice of a chest, mirrored and repeated,
    with three balls of rising density put into its lung: it shows candidates, scores and pictures,
    and no anatomy. It is a NIfTI file, of which no DICOM object is made that could be taken for a
    finding.

    Args:
        folder: Where the volume is written.

    Raises:
        DataError: The slice is not installed.
        StorageError: The volume cannot be written.
    """
    return {"dicom_files": test_files(), "made_volume": write_volume(folder / "made_volume.nii")}


def write_volume(path: Path) -> Path:
    """Writes the volume of `demo_inputs` as NIfTI; the same bytes each time."""
    from nibabel.nifti1 import Nifti1Image

    volume = _repeat(read_slice("chest"))
    hu_DHW = volume.hu_DHW.astype(np.int16)
    for centre_mm, hu in zip(ball_centres(volume), BALLS.values(), strict=True):
        offset = volume.to_patient(np.argwhere(np.ones(hu_DHW.shape, dtype=bool))) - centre_mm
        inside = np.linalg.norm(offset, axis=1) <= RADIUS_MM
        hu_DHW[inside.reshape(hu_DHW.shape)] = hu
    affine = _LPS_TO_RAS @ volume.affine[:, [2, 1, 0, 3]]
    image = cast(Any, Nifti1Image)(hu_DHW.transpose(2, 1, 0), affine)
    image.header.set_xyzt_units("mm")
    with atomic_path(path) as temporary:
        temporary.write_bytes(image.to_bytes())
    return path


def ball_centres(volume: Volume) -> np.ndarray:
    """(3, 3) LPS mm: where there is most lung around within the picture, in the slices `BALLS`.

    Raises:
        DataError: There is no lung in the volume.
    """
    from moekit_medical.inference.lungs import find_lungs

    lungs = find_lungs(volume)
    if lungs is None:
        raise DataError(
            "no lung is found in the slice of the demonstration",
            whose="moekit-medical",
            fix="install the kit and its dependencies again",
            code="data/damaged",
        )
    middle_HW = lungs.inside_mm_DHW[len(lungs.inside_mm_DHW) // 2]
    room_HW = np.minimum(middle_HW, _to_edge(middle_HW.shape, lungs.grid.spacing_mm[1:]))
    row, column = np.unravel_index(int(room_HW.argmax()), room_HW.shape)
    place_mm = lungs.grid.to_patient(np.array([[0.0, row, column]]))
    _, h, w = volume.to_index(place_mm)[0]
    return volume.to_patient(np.array([[depth, h, w] for depth in BALLS], dtype=np.float64))


def _to_edge(shape: tuple[int, ...], spacing_mm: tuple[float, ...]) -> np.ndarray:
    """(H, W) mm from each pixel to the nearest edge of the picture."""
    h, w = (
        np.minimum(np.arange(size), np.arange(size)[::-1]) * step
        for size, step in zip(shape, spacing_mm, strict=True)
    )
    return np.minimum(h[:, None], w[None, :])


def _repeat(chest: DemoSlice) -> Volume:
    """The slice as all slices of a volume, `STEP_MM` apart, its mirror image in front of it.

    The picture ends within the lungs; the mirror image closes them.
    """
    affine = chest.scan.affine.copy()
    affine[:3, 0] *= STEP_MM / np.linalg.norm(affine[:3, 0])
    height = chest.scan.hu_DHW.shape[1]
    hu_DHW = np.pad(chest.scan.hu_DHW, ((0, 0), (height, 0), (0, 0)), "symmetric")
    affine[:3, 3] -= affine[:3, 1] * height
    return Volume(
        hu_DHW=np.repeat(hu_DHW, SLICES, axis=0).astype(np.float32),
        affine=affine,
        series_uid="",
        study_uid="",
        frame_of_reference_uid=None,
        sop_uids=("",) * SLICES,
    )

"""Small made-up volumes for the examples of the loaders: a bright ball and a dim one in air."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np

from moekit_medical.loaders.labels import TABLE

_SERIES = 6
_SLICES, _SIDE = 4, 32
STEP_MM, PIXEL_MM = 2.5, 2.0
BALLS = ((1, 10, 10), (2, 20, 22))
"""Indices (d, h, w) of the centres of what is labelled other, and of the nodule."""

_ROOT = "1.2.826.0.1.3680043.8.498.4242"


def write_nifti_example(folder: Path) -> Path:
    """Writes 6 volumes of 3 patients with 2 candidates each."""
    from nibabel.nifti1 import Nifti1Image

    lines = ["volume,label,patient,x,y,z\n"]
    ras = np.diag([-PIXEL_MM, -PIXEL_MM, STEP_MM, 1.0])
    for number in range(_SERIES):
        voxels_IJK = made_volume(number).T
        image = cast(Any, Nifti1Image)(voxels_IJK, ras)
        image.header.set_xyzt_units("mm")
        image.to_filename(folder / f"v{number}.nii.gz")
        for label, place in enumerate(BALLS):
            x, y, z = _point(place)
            lines.append(f"v{number}.nii.gz,{label},p{number % 3},{x},{y},{z}\n")
    (folder / TABLE).write_text("".join(lines), encoding="utf-8")
    return folder


def write_dicom_example(folder: Path) -> Path:
    """Writes 6 series of 6 made-up patients with 2 candidates each."""
    lines = ["series,label,x,y,z,sop,row,column\n"]
    for number in range(_SERIES):
        (folder / f"s{number}").mkdir()
        series = f"{_ROOT}.{number + 1}"
        for index, hu_HW in enumerate(made_volume(number)):
            write_made_slice(
                folder / f"s{number}" / f"{index}.dcm",
                series=series,
                patient=f"made-up-{number}",
                index=index,
                hu_HW=hu_HW,
            )
        (x, y, z), (d, h, w) = _point(BALLS[0]), BALLS[1]
        lines.append(f"{series},0,{x},{y},{z},,,\n")
        lines.append(f"{series},1,,,,{series}.{d + 1},{h},{w}\n")
    (folder / TABLE).write_text("".join(lines), encoding="utf-8")
    return folder


def made_volume(number: int) -> np.ndarray:
    """(D, H, W) int16 in HU: air with what is labelled other, and a nodule."""
    generator = np.random.default_rng(number)
    hu_DHW = generator.normal(-800, 30, (_SLICES, _SIDE, _SIDE))
    grid = np.indices(hu_DHW.shape)
    for place, hu in zip(BALLS, (-500, 50), strict=True):
        offset = grid - np.reshape(place, (3, 1, 1, 1))
        hu_DHW[np.linalg.norm(offset, axis=0) < 3] += hu + 800
    return hu_DHW.astype(np.int16)


def _point(place: tuple[int, int, int]) -> tuple[float, float, float]:
    """LPS mm; the first voxel lies at the origin."""
    d, h, w = place
    return w * PIXEL_MM, h * PIXEL_MM, d * STEP_MM


def write_made_slice(
    path: Path, *, series: str, patient: str, index: int, hu_HW: np.ndarray
) -> None:
    """Writes one axial slice; the series is a study and a frame of reference of its own."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = CTImageStorage
    dataset.SeriesInstanceUID = series
    dataset.SOPInstanceUID = f"{series}.{index + 1}"
    dataset.StudyInstanceUID = f"{series}.0"
    dataset.FrameOfReferenceUID = f"{series}.99"
    dataset.PatientID = patient
    dataset.Modality = "CT"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.ImagePositionPatient = [0, 0, index * STEP_MM]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing = [PIXEL_MM, PIXEL_MM]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, -1024, "HU"
    dataset.Rows, dataset.Columns = hu_HW.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation = 0
    dataset.add_new("PixelData", "OW", (hu_HW + 1024).astype("<u2").tobytes())
    dataset.save_as(path, enforce_file_format=True)

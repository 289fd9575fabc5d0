"""A small made-up set with lesions for the example of the loader `lesions`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np

from moekit_medical.loaders.examples import BALLS, PIXEL_MM, STEP_MM, made_volume, write_made_slice
from moekit_medical.loaders.labels import TABLE

_SERIES = 6
_RADIUS = 1.5
_ROOT = "1.2.826.0.1.3680043.8.498.4243"
_SQUARE = ((-3.0, -3.0), (-3.0, 3.0), (3.0, 3.0), (3.0, -3.0))
"""Corners around the middle of a lesion, in pixels."""


def write_lesion_example(folder: Path) -> Path:
    """Writes 6 series of 6 made-up patients; three with structure sets, three with NIfTI labels."""
    lines = ["series,patient,mask\n"]
    for number in range(_SERIES):
        series = f"{_ROOT}.{number + 1}"
        (folder / f"s{number}").mkdir()
        for index, hu_HW in enumerate(made_volume(number)):
            write_made_slice(
                folder / f"s{number}" / f"{index}.dcm",
                series=series,
                patient=f"made-up-{number}",
                index=index,
                hu_HW=hu_HW,
            )
        mask = ""
        if number % 2:
            mask = f"s{number}.nii.gz"
            _write_label(folder / mask, made_volume(number).shape)
        else:
            _write_structures(folder / f"s{number}" / "rtss.dcm", series)
        lines.append(f"{series},p{number},{mask}\n")
    (folder / TABLE).write_text("".join(lines), encoding="utf-8")
    return folder


def _write_label(path: Path, shape: tuple[int, ...]) -> None:
    from nibabel.nifti1 import Nifti1Image

    offset = np.indices(shape) - np.reshape(BALLS[1], (3, 1, 1, 1))
    mask_DHW = (np.linalg.norm(offset, axis=0) < _RADIUS).astype(np.uint8)
    ras = np.diag([-PIXEL_MM, -PIXEL_MM, STEP_MM, 1.0])
    cast(Any, Nifti1Image)(mask_DHW.T, ras).to_filename(path)


def _write_structures(path: Path, series: str) -> None:
    """One structure, a square in two slices."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, RTStructureSetStorage

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.Modality = RTStructureSetStorage, "RTSTRUCT"
    dataset.SOPInstanceUID, dataset.SeriesInstanceUID = f"{series}.90.1", f"{series}.90"
    dataset.StudyInstanceUID = f"{series}.0"
    roi, drawn = Dataset(), Dataset()
    roi.ROINumber, roi.ROIName, roi.ReferencedFrameOfReferenceUID = 1, "GTV-1", f"{series}.99"
    drawn.ReferencedROINumber = 1
    drawn.ContourSequence = [_contour(d) for d in (1, 2)]
    reference, study, frame = Dataset(), Dataset(), Dataset()
    reference.SeriesInstanceUID = series
    study.RTReferencedSeriesSequence = [reference]
    frame.FrameOfReferenceUID, frame.RTReferencedStudySequence = f"{series}.99", [study]
    dataset.StructureSetROISequence, dataset.ROIContourSequence = [roi], [drawn]
    dataset.ReferencedFrameOfReferenceSequence = [frame]
    dataset.save_as(path, enforce_file_format=True)


def _contour(d: int) -> Any:
    from pydicom.dataset import Dataset

    _, h, w = BALLS[1]
    corners = [
        ((w + along_w) * PIXEL_MM, (h + along_h) * PIXEL_MM, d * STEP_MM)
        for along_h, along_w in _SQUARE
    ]
    contour = Dataset()
    contour.ContourGeometricType = "CLOSED_PLANAR"
    contour.NumberOfContourPoints = len(corners)
    contour.ContourData = [number for corner in corners for number in corner]
    return contour

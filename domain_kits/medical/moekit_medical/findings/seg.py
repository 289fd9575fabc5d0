"""A mask as a DICOM Segmentation (PS3.3 A.51), binary, one segment. Research use only.

Made with highdicom (Bridge et al. 2022, Journal of Digital Imaging 35:1719-1737). The same mask on
the same slices makes the same bytes: UIDs follow from content, and date and time are those of the
slices.

Shapes: D slices, H rows, W columns, F frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import highdicom
import numpy as np
import pydicom
from pydicom.sr.codedict import codes
from pydicom.uid import SegmentationStorage

from moekit import DataError
from moekit.files import check_plain
from moekit_medical.dicom.reading import read
from moekit_medical.dicom.sources import Source
from moekit_medical.dicom.verdict import SetAsideError
from moekit_medical.findings.identifiers import derive_uid
from moekit_medical.findings.quiet import explained
from moekit_medical.findings.sources import (
    MANUFACTURER,
    NOT_CLINICAL,
    SERIES_NUMBERS,
    VERSION,
    make_repeatable,
    match_sources,
)
from moekit_medical.volume import Volume

Kind = Literal["lesion", "nodule"]
KINDS = {"lesion": codes.SCT.Lesion, "nodule": codes.SCT.Nodule}
_TOLERANCE = 0.01


def build_segmentation(
    mask_DHW: np.ndarray,
    volume: Volume,
    sources: Sequence[pydicom.Dataset | Path],
    *,
    kind: Kind = "lesion",
    stand_ins: Sequence[pydicom.Dataset | Path] | None = None,
) -> highdicom.seg.Segmentation:
    """Makes a Segmentation on the volume's grid, which a resampled volume need not share with CT.

    Patient and study are copied from the slices. To write without them, give stand-ins made with
    `deidentify`.

    Args:
        mask_DHW: (D, H, W) bool. Empty slices are left out unless all are empty.
        volume: What the mask was found in.
        sources: The slices of the volume's series, as data sets or files, in any order.
        kind: What the segment is, coded in SNOMED CT.
        stand_ins: For each source, in the same order, what is referred to in its place.

    Raises:
        DataError: The mask does not fit the volume, or the slices cannot be used.
    """
    if mask_DHW.shape != volume.hu_DHW.shape or mask_DHW.dtype != np.bool_:
        raise DataError(
            "the mask is not of bool or not of the volume's shape",
            whose="a segmentation",
            fix="give a boolean mask with one value for each voxel",
            code="data/array-shape",
        )
    matched = match_sources(volume, sources, stand_ins)
    of_mask = _content(mask_DHW, volume)
    content: tuple[str | bytes, ...] = (*matched.key(), kind, VERSION, *of_mask)
    with explained("a Segmentation"):
        segmentation = highdicom.seg.Segmentation(
            source_images=matched.slices,
            pixel_array=mask_DHW,
            **_grid(volume),
            segmentation_type="BINARY",
            segment_descriptions=[_describe(kind)],
            series_instance_uid=derive_uid("seg series", *content),
            series_number=SERIES_NUMBERS["SEG"],
            sop_instance_uid=derive_uid("seg instance", *content),
            instance_number=1,
            manufacturer=MANUFACTURER,
            manufacturer_model_name=MANUFACTURER,
            software_versions=VERSION,
            device_serial_number="0",
            content_label="RESEARCH",
            content_description=NOT_CLINICAL,
            series_description=NOT_CLINICAL,
            content_date=matched.moment[0],
            content_time=matched.moment[1],
        )
    make_repeatable(segmentation, matched)
    return segmentation


def read_segmentation(source: pydicom.Dataset | Path, volume: Volume) -> np.ndarray:
    """Reads a binary Segmentation of one segment onto the grid of a volume.

    Frames are placed by their position in the patient. Slices without a frame are empty.

    Args:
        source: A Segmentation, or its file.
        volume: Of the grid on which the Segmentation was made.

    Returns:
        (D, H, W) bool.

    Raises:
        DataError: It is no such Segmentation, or lies on another grid.
    """
    with explained("a Segmentation"):
        dataset = _read(source)
        return _place_frames(dataset, volume)


def _place_frames(dataset: pydicom.Dataset, volume: Volume) -> np.ndarray:
    groups = dataset.SharedFunctionalGroupsSequence[0]
    rows, columns = volume.hu_DHW.shape[1:]
    same_size = (int(dataset.Rows), int(dataset.Columns)) == (rows, columns)
    if not same_size or not _same_plane(groups, volume):
        raise _other_grid()
    frames_FHW = dataset.pixel_array.reshape(-1, rows, columns).astype(bool)
    mask_DHW = np.zeros(volume.hu_DHW.shape, dtype=bool)
    for frame_HW, group in zip(frames_FHW, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        position = group.PlanePositionSequence[0].ImagePositionPatient
        index_3 = volume.to_index(np.array([position], dtype=np.float64))[0]
        d = round(float(index_3[0]))
        if np.abs(index_3 - (d, 0, 0)).max() > _TOLERANCE or not 0 <= d < len(mask_DHW):
            raise _other_grid()
        mask_DHW[d] = frame_HW
    return mask_DHW


def _content(mask_DHW: np.ndarray, volume: Volume) -> tuple[bytes, ...]:
    shape = np.array(mask_DHW.shape, dtype="<i8")
    grid = np.ascontiguousarray(volume.affine, dtype="<f8")
    return shape.tobytes(), grid.tobytes(), np.packbits(mask_DHW).tobytes()


def _grid(volume: Volume) -> dict[str, Any]:
    """Where the frames of a volume lie, each for itself.

    Slices may be displaced sideways by a fraction of a pixel, so that their line is not at right
    angles to them; a `highdicom.Volume` cannot say that, its frames can.
    """
    _, along_h, along_w = volume.affine[:3, :3].T
    step, spacing_h, spacing_w = volume.spacing_mm
    index_D3 = np.zeros((len(volume.hu_DHW), 3))
    index_D3[:, 0] = np.arange(len(index_D3))
    return {
        "plane_positions": [
            highdicom.PlanePositionSequence("PATIENT", place_3)
            for place_3 in volume.to_patient(index_D3)
        ],
        "plane_orientation": highdicom.PlaneOrientationSequence(
            "PATIENT", [*(along_w / spacing_w), *(along_h / spacing_h)]
        ),
        "pixel_measures": highdicom.PixelMeasuresSequence(
            pixel_spacing=(spacing_h, spacing_w),
            slice_thickness=step,
            spacing_between_slices=step,
        ),
    }


def _describe(kind: Kind) -> highdicom.seg.SegmentDescription:
    return highdicom.seg.SegmentDescription(
        segment_number=1,
        segment_label=f"{kind} candidates (research)",
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=KINDS[kind],
        algorithm_type="AUTOMATIC",
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name=MANUFACTURER,
            family=codes.DCM.ArtificialIntelligence,
            version=VERSION,
        ),
    )


def _read(source: pydicom.Dataset | Path) -> pydicom.Dataset:
    try:
        dataset = _opened(source) if isinstance(source, Path) else source
    except (OSError, SetAsideError):
        raise _no_segmentation() from None
    segments = dataset.get("SegmentSequence", [])
    binary = dataset.get("SegmentationType") == "BINARY"
    if dataset.get("SOPClassUID") != SegmentationStorage or not binary or len(segments) != 1:
        raise _no_segmentation()
    return dataset


def _opened(path: Path) -> pydicom.Dataset:
    check_plain(path)
    return read(Source(token="", open=lambda: path.open("rb")), pixels=True)


def _same_plane(groups: pydicom.Dataset, volume: Volume) -> bool:
    """Whether rows and columns run as in the volume and are as far apart."""
    _, along_h, along_w = volume.affine[:3, :3].T
    spacing_h, spacing_w = groups.PixelMeasuresSequence[0].PixelSpacing
    directions = np.array(groups.PlaneOrientationSequence[0].ImageOrientationPatient, dtype=float)
    expected = np.concatenate([along_w, along_h])
    found = directions * np.repeat([float(spacing_w), float(spacing_h)], 3)
    return bool(np.allclose(found, expected, rtol=1e-4, atol=1e-6))


def _no_segmentation() -> DataError:
    return DataError(
        "this is not a readable binary Segmentation of one segment",
        whose="a DICOM object",
        fix="give a Segmentation that moekit wrote",
        code="data/not-a-segmentation",
    )


def _other_grid() -> DataError:
    return DataError(
        "the Segmentation lies on another grid than the volume",
        whose="a DICOM Segmentation",
        fix="read it with the volume that it was made for",
        code="data/other-grid",
    )

"""Findings as a DICOM Segmentation (PS3.3 A.51), binary, a segment each. Research use only.

Made with highdicom (Bridge et al. 2022, Journal of Digital Imaging 35:1719-1737). The same mask on
the same slices makes the same bytes: UIDs follow from content, and date and time are those of the
slices.

Shapes: D slices, H rows, W columns, F frames.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
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
from moekit_medical.findings.record import Finding
from moekit_medical.findings.sources import (
    MANUFACTURER,
    NOT_CLINICAL,
    SERIES_NUMBERS,
    VERSION,
    Sources,
    make_repeatable,
    match_sources,
)
from moekit_medical.findings.tracking import tracking_id, tracking_uid
from moekit_medical.volume import Volume

Kind = Literal["lesion", "nodule"]
KINDS = {"lesion": codes.SCT.Lesion, "nodule": codes.SCT.Nodule}
MOST_SEGMENTS = 100
"""Segments of one Segmentation; the last one holds the rest if there are more findings."""
_TOLERANCE = 0.01


@dataclasses.dataclass(frozen=True, kw_only=True)
class Segment:
    """One finding, or the rest of them, in a Segmentation.

    Attributes:
        first: Least number that its voxels have in the mask.
        last: Greatest one; as `first` if it is one finding.
        label: What readers see, 64 characters at most.
        finding: What was found there; it has the tracking UID that a report gives it. None for what
            is no `Finding`, whose UID follows from the mask.
    """

    first: int
    last: int
    label: str
    finding: Finding | None = None

    def tracking(self, kind: Kind) -> str:
        """The tracking identifier."""
        if self.first == self.last:
            return tracking_id(self.first, kind)
        return f"{kind} {self.first} to {self.last}"


def segments_of(
    numbers: Iterable[int], kind: Kind, *, findings: Sequence[Finding] = ()
) -> tuple[Segment, ...]:
    """A segment for each number that a mask holds; from `MOST_SEGMENTS` on the last holds the rest.

    Args:
        numbers: In rising order, from 1.
        kind: What each is.
        findings: The finding of each number, from 1; none if they are no findings.
    """
    listed = list(numbers)
    single = listed if len(listed) <= MOST_SEGMENTS else listed[: MOST_SEGMENTS - 1]
    segments = []
    for number in single:
        finding = findings[number - 1] if findings else None
        score = "" if finding is None else f", score {finding.score:.3f}"
        label = f"{kind} {number}{score} (research)"
        segments.append(Segment(first=number, last=number, label=label, finding=finding))
    if len(single) < len(listed):
        rest = listed[len(single) :]
        label = f"{kind} {rest[0]} to {rest[-1]} (research)"
        segments.append(Segment(first=rest[0], last=rest[-1], label=label))
    return tuple(segments)


def build_segmentation(
    mask_DHW: np.ndarray,
    volume: Volume,
    sources: Sequence[pydicom.Dataset | Path],
    *,
    kind: Kind = "lesion",
    segments: Sequence[Segment] = (),
    stand_ins: Sequence[pydicom.Dataset | Path] | None = None,
) -> highdicom.seg.Segmentation:
    """Makes a Segmentation on the volume's grid, which a resampled volume need not share with CT.

    Patient and study are copied from the slices. To write without them, give stand-ins made with
    `deidentify`.

    Args:
        mask_DHW: (D, H, W) bool, or unsigned numbers of findings, 0 for none. Empty slices are left
            out unless all are empty.
        volume: What the mask was found in.
        sources: The slices of the volume's series, as data sets or files, in any order.
        kind: What a segment is, coded in SNOMED CT.
        segments: What the numbers of the mask are; one for all if there is none. Segments are
            numbered from 1 in this order.
        stand_ins: For each source, in the same order, what is referred to in its place.

    Raises:
        DataError: The mask does not fit the volume, or the slices cannot be used.
    """
    if mask_DHW.shape != volume.hu_DHW.shape or mask_DHW.dtype.kind not in "bu":
        raise DataError(
            "the mask is not of bool or of unsigned numbers, or not of the volume's shape",
            whose="a segmentation",
            fix="give a mask with one value for each voxel",
            code="data/array-shape",
        )
    if not segments:
        highest = max(int(mask_DHW.max(initial=0)), 1)
        segments = (Segment(first=1, last=highest, label=f"{kind} candidates (research)"),)
    matched = match_sources(volume, sources, stand_ins)
    number_DHW = _numbered(mask_DHW, segments)
    of_mask = _content(number_DHW, volume)
    labels = (segment.label for segment in segments)
    content: tuple[str | bytes, ...] = (*matched.key(), kind, VERSION, *labels, *of_mask)
    of_all = derive_uid("segments", *content)
    with explained("a Segmentation"):
        segmentation = highdicom.seg.Segmentation(
            source_images=matched.slices,
            pixel_array=number_DHW,
            **_grid(volume),
            segmentation_type="BINARY",
            segment_descriptions=[
                _describe(number, segment, kind, _uid(segment, matched, kind, of_all))
                for number, segment in enumerate(segments, 1)
            ],
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
    """Reads a binary Segmentation onto the grid of a volume.

    Frames are placed by their position in the patient. Slices without a frame are empty.

    Args:
        source: A Segmentation, or its file.
        volume: Of the grid on which the Segmentation was made.

    Returns:
        (D, H, W) uint16: the number of the segment, 0 for none. If several overlap it is the
        greatest.

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
    number_DHW = np.zeros(volume.hu_DHW.shape, dtype=np.uint16)
    for frame_HW, group in zip(frames_FHW, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        position = group.PlanePositionSequence[0].ImagePositionPatient
        index_3 = volume.to_index(np.array([position], dtype=np.float64))[0]
        d = round(float(index_3[0]))
        if np.abs(index_3 - (d, 0, 0)).max() > _TOLERANCE or not 0 <= d < len(number_DHW):
            raise _other_grid()
        # If there is one segment, its number may stand with what all frames share.
        holder = group if "SegmentIdentificationSequence" in group else groups
        number = int(holder.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        number_DHW[d] = np.maximum(number_DHW[d], frame_HW * np.uint16(number))
    return number_DHW


def _numbered(mask_DHW: np.ndarray, segments: Sequence[Segment]) -> np.ndarray:
    """(D, H, W) the number of the segment of each voxel, from 1; 0 for none."""
    dtype = np.uint8 if len(segments) < 256 else np.uint16
    highest = max(int(mask_DHW.max(initial=0)), max(segment.last for segment in segments))
    number_of = np.zeros(highest + 1, dtype=dtype)
    for number, segment in enumerate(segments, 1):
        number_of[segment.first : segment.last + 1] = number
    numbered: np.ndarray = number_of[mask_DHW.astype(np.uint16)]
    return numbered


def _content(number_DHW: np.ndarray, volume: Volume) -> tuple[bytes, ...]:
    shape = np.array(number_DHW.shape, dtype="<i8")
    grid = np.ascontiguousarray(volume.affine, dtype="<f8")
    return shape.tobytes(), grid.tobytes(), number_DHW.astype("<u2").tobytes()


def _uid(segment: Segment, sources: Sources, kind: Kind, of_all: str) -> str:
    """The tracking UID of a segment; of what is no finding it follows from that of the content."""
    if segment.finding is not None:
        return tracking_uid(segment.finding, segment.first, sources, kind=kind)
    return derive_uid("segment", segment.tracking(kind), of_all)


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


def _describe(
    number: int, segment: Segment, kind: Kind, uid: str
) -> highdicom.seg.SegmentDescription:
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=segment.label,
        tracking_id=segment.tracking(kind),
        tracking_uid=uid,
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
    binary = dataset.get("SegmentationType") == "BINARY"
    if dataset.get("SOPClassUID") != SegmentationStorage or not binary:
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
        "this is not a readable binary Segmentation",
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

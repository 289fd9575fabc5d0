"""What the header of a file says of each slice in it, before any pixel is decoded."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    EnhancedCTImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    MediaStorageDirectoryStorage,
    ParametricMapStorage,
    RTDoseStorage,
    SegmentationStorage,
)

from moekit_medical.dicom.kinds import is_secondary_capture, loss, why_no_slice
from moekit_medical.dicom.persons import person_of
from moekit_medical.dicom.sources import Source
from moekit_medical.dicom.subject import slice_facts
from moekit_medical.dicom.verdict import SetAsideError

MAX_VOXELS = 2**28
"""Voxels that one file may hold."""

AN_INDEX = "a DICOMDIR, an index; the files in its folder are read without it"

ACQUISITION = (
    *("AcquisitionNumber", "AcquisitionUID", "AcquisitionTime", "AcquisitionDateTime"),
    *("TemporalPositionIdentifier", "TemporalPositionIndex", "NominalPercentageOfCardiacPhase"),
    *("NominalCardiacTriggerDelayTime", "KVP", "ConvolutionKernel"),
)
"""What sets the acquisitions, phases and reconstructions of one series apart."""

_ENHANCED = (EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage)
_CT = (CTImageStorage, *_ENHANCED)
_COMPANIONS = (SegmentationStorage, RTDoseStorage, ParametricMapStorage)
_MODALITIES = (
    *("CR", "DX", "ES", "GM", "IO", "IVUS", "MG", "MR", "NM", "OP", "OPT", "OT", "PT", "PX"),
    *("RF", "RG", "RTIMAGE", "SC", "SM", "TG", "US", "XA", "XC"),
)
"""Those that may be named; any other text might name a person."""

EXPORT = "export the series again from the scanner or the archive, with all attributes"
_GIVE_CT = "give CT images"


class Problem(NamedTuple):
    """Why the whole series of a slice must be refused; the fields are those of `RefusedError`."""

    reason: str
    code: str
    fix: str = EXPORT


@dataclasses.dataclass(frozen=True, kw_only=True)
class Slice:
    """One slice of a CT series; what is missing or malformed is None.

    Attributes:
        source: The file it is in.
        frame: Its number there, from 0.
        sop_uid: SOPInstanceUID.
        series_uid: SeriesInstanceUID.
        study_uid: StudyInstanceUID; may be empty.
        patient: PatientID; may be empty. Never shown.
        person: Name, birth date and sex as far as they are stated. Never shown.
        frame_of_reference_uid: FrameOfReferenceUID.
        problem: Why the whole series must be refused, or None.
        rows: Of the matrix.
        columns: Of the matrix.
        position: ImagePositionPatient, mm.
        orientation: ImageOrientationPatient: direction along a row, then along a column.
        spacing: PixelSpacing, mm: between rows, then between columns.
        slope: RescaleSlope.
        intercept: RescaleIntercept.
        rescale_type: RescaleType; HU if it is absent (PS3.3 C.8.2.1).
        representation: PixelRepresentation.
        acquisition: What sets acquisitions, phases and reconstructions apart, as far as stated.
        loss: How the image says that it was compressed with loss; empty if it does not.
        facts: Of `Volume.facts`, as pairs.
    """

    source: Source
    frame: int = 0
    sop_uid: str
    series_uid: str
    study_uid: str
    patient: str = dataclasses.field(repr=False)
    person: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    frame_of_reference_uid: str | None
    problem: Problem | None = None
    rows: int = 0
    columns: int = 0
    position: tuple[float, ...] | None = None
    orientation: tuple[float, ...] | None = None
    spacing: tuple[float, ...] | None = None
    slope: float | None = None
    intercept: float | None = None
    rescale_type: str = "HU"
    representation: int | None = None
    acquisition: Mapping[str, str] = dataclasses.field(default_factory=dict)
    loss: str = ""
    facts: tuple[tuple[str, str], ...] = ()


def slices_of(dataset: FileDataset, source: Source) -> tuple[Slice, ...]:
    """The slices in one file: one, or one a frame in an enhanced object (PS3.3 A.38).

    Args:
        dataset: Its header; call inside `reading.quiet`.
        source: Where it is.

    Raises:
        SetAsideError: It holds no slices of any series.
    """
    storage = UID(_text(dataset, "SOPClassUID") or _text(dataset.file_meta, _META_CLASS))
    _check_is_image(dataset, storage)
    first = Slice(
        source=source,
        sop_uid=_text(dataset, "SOPInstanceUID"),
        series_uid=_text(dataset, "SeriesInstanceUID"),
        study_uid=_text(dataset, "StudyInstanceUID"),
        patient=_text(dataset, "PatientID"),
        person=person_of(dataset),
        frame_of_reference_uid=_text(dataset, "FrameOfReferenceUID") or None,
    )
    if not first.series_uid or not first.sop_uid:
        raise SetAsideError("an image without SeriesInstanceUID or SOPInstanceUID")
    frames = int(dataset.get("NumberOfFrames") or 1)
    problem = _find_problem(dataset, storage, frames)
    if problem:
        return (dataclasses.replace(first, problem=problem),)
    first = dataclasses.replace(first, rows=int(dataset.Rows), columns=int(dataset.Columns))
    if storage in _ENHANCED:
        problem = _find_other_frames(dataset, frames)
        if problem:
            return (dataclasses.replace(first, problem=problem),)
        return tuple(
            _describe(first, list(_functional_groups(dataset, frame)), frame=frame)
            for frame in range(frames)
        )
    return (_describe(first, [dataset]),)


def _find_other_frames(dataset: Dataset, frames: int) -> Problem | None:
    """Why frames of an enhanced object are no slices; its ImageType may say MIXED (C.8.15.3.3).

    Raises:
        SetAsideError: No frame is a slice.
    """
    found = []
    for frame in range(frames):
        groups = list(_functional_groups(dataset, frame))
        texts = [
            _text(group, keyword)
            for keyword in ("FrameType", "VolumeBasedCalculationTechnique")
            for group in groups
            if keyword in group
        ]
        found.append(next(filter(None, map(why_no_slice, texts)), ""))
    others = [reason for reason in found if reason]
    if len(others) == frames:
        raise SetAsideError(others[0])
    if not others:
        return None
    return Problem(
        f"{len(others)} of {frames} frames of a file are no slices: {others[0]}",
        code="data/mixed-geometry",
        fix="export the slices as an object or a series of their own",
    )


_META_CLASS = "MediaStorageSOPClassUID"


def _check_is_image(dataset: FileDataset, storage: UID) -> None:
    if storage == MediaStorageDirectoryStorage or "DirectoryRecordSequence" in dataset:
        raise SetAsideError(AN_INDEX)
    if not storage:
        raise SetAsideError("DICOM of no stated storage class")
    name = storage.name if storage.name != str(storage) else "an unknown storage class"
    if is_secondary_capture(storage):
        raise SetAsideError(f"a secondary capture ({name})")
    if storage in _COMPANIONS or (storage not in _CT and "Rows" not in dataset):
        raise SetAsideError(f"no slices ({name})")
    if storage not in _CT:
        return
    if int(dataset.get("SamplesPerPixel") or 1) != 1:
        raise SetAsideError("a colour image, which holds no CT values")
    reason = why_no_slice(_text(dataset, "ImageType"))
    if reason:
        raise SetAsideError(reason)


def _find_problem(dataset: Dataset, storage: UID, frames: int) -> Problem | None:
    """Why no slice of this file can be used."""
    modality = _text(dataset, "Modality")
    rows, columns = int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)
    if modality != "CT":
        named = modality if modality in _MODALITIES else "not stated"
        return Problem(f"the modality is {named}, not CT", code="data/no-ct", fix=_GIVE_CT)
    if storage not in _CT:
        named = storage.name if storage.type else "unknown"
        return Problem(f"the storage class is {named}, not CT", code="data/no-ct", fix=_GIVE_CT)
    if rows < 1 or columns < 1 or frames < 1:
        return Problem(
            "Rows, Columns or NumberOfFrames is missing or not positive",
            code="data/missing-attribute",
        )
    if rows * columns * frames > MAX_VOXELS:
        return Problem(
            f"a file claims {rows} x {columns} x {frames} voxels, more than {MAX_VOXELS}",
            code="data/too-large",
        )
    if "ModalityLUTSequence" in dataset:
        return Problem(
            "the modality LUT is a table, not a rescale slope and intercept",
            code="data/not-hounsfield",
        )
    if storage not in _ENHANCED:
        if frames == 1:
            return None
        return Problem(
            "a file holds several frames that have no place each", code="data/bad-geometry"
        )
    if len(dataset.get("PerFrameFunctionalGroupsSequence") or ()) != frames:
        return Problem("the functional groups are not one for each frame", code="data/bad-geometry")
    return None


def _functional_groups(dataset: Dataset, frame: int) -> Iterator[Dataset]:
    """The functional groups of one frame, its own before the shared ones (PS3.3 C.7.6.16)."""
    own = dataset.PerFrameFunctionalGroupsSequence[frame]
    for groups in (own, *(dataset.get("SharedFunctionalGroupsSequence") or ())[:1]):
        for element in groups:
            if element.VR == "SQ" and len(element.value) > 0:
                yield element.value[0]
    yield dataset


def _describe(first: Slice, groups: Sequence[Dataset], *, frame: int = 0) -> Slice:
    """`first` with what the data sets say, the first of them that has an attribute."""

    def holder(keyword: str) -> Dataset:
        return next((group for group in groups if keyword in group), Dataset())

    def numbers(keyword: str, count: int) -> tuple[float, ...] | None:
        return _numbers(holder(keyword), keyword, count)

    slope, intercept = numbers("RescaleSlope", 1), numbers("RescaleIntercept", 1)
    return dataclasses.replace(
        first,
        frame=frame,
        position=numbers("ImagePositionPatient", 3),
        orientation=numbers("ImageOrientationPatient", 6),
        spacing=numbers("PixelSpacing", 2),
        slope=slope[0] if slope else None,
        intercept=intercept[0] if intercept else None,
        rescale_type=_text(holder("RescaleType"), "RescaleType").upper() or "HU",
        representation=_whole(groups[-1].get("PixelRepresentation")),
        acquisition={
            keyword: text
            for keyword in ACQUISITION
            for text in [_text(holder(keyword), keyword)]
            if text
        },
        loss=_loss(groups[-1]),
        facts=slice_facts(holder),
    )


def _loss(dataset: Dataset) -> str:
    ratios = _text(dataset, "LossyImageCompressionRatio").split("\\")
    meta = getattr(dataset, "file_meta", Dataset())
    stated = _text(dataset, "LossyImageCompression")
    return loss(stated, ratios, _text(meta, "TransferSyntaxUID"))


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _text(dataset: Dataset, keyword: str) -> str:
    value = dataset.get(keyword)
    if value is None:
        return ""
    parts = [value] if isinstance(value, str) or not hasattr(value, "__iter__") else value
    return "\\".join(str(part) for part in parts).strip(" \0")


def _numbers(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """`count` finite numbers, or None."""
    try:
        value = dataset.get(keyword)
        numbers = tuple(float(part) for part in (value if count > 1 else (value,)))
    except (TypeError, ValueError, OverflowError):
        return None
    return numbers if len(numbers) == count and all(map(math.isfinite, numbers)) else None

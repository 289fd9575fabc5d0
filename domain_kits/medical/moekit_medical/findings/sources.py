"""The slices that a DICOM output refers to, and what all DICOM outputs share.

An output belongs to the study of its slices and names the patient as they do (DICOM PS3.3 C.7.1,
C.7.2). To write an output without the patient, stand-ins are named in place of the slices: their
de-identified copies.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pydicom
from pydicom.datadict import dictionary_VR
from pydicom.errors import InvalidDicomError
from pydicom.valuerep import DA, TM

from moekit import DataError
from moekit.files import atomic_path
from moekit_medical.findings.identifiers import derive_uid
from moekit_medical.findings.quiet import explained
from moekit_medical.volume import Volume

MANUFACTURER = "moekit"
VERSION = importlib.metadata.version("moekit")
NOT_CLINICAL = "Research use only, not for clinical use"
SERIES_NUMBERS = {"SEG": 901, "SR": 902}
_MAY_BE_EMPTY = (
    "AccessionNumber",
    "PatientBirthDate",
    "PatientID",
    "PatientName",
    "PatientSex",
    "PositionReferenceIndicator",
    "ReferringPhysicianName",
    "StudyDate",
    "StudyID",
    "StudyTime",
)
_MOMENTS = ("Content", "Acquisition", "Series", "Study")
_FIXED_MOMENT = ("19000101", "000000")
_OF_EQUIPMENT = ("InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName")
_OF_DEVICE = ("StationName", "DeviceSerialNumber", "ContributionDateTime", "OperatorsName")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sources:
    """The slices to refer to, from the first to the last along the volume's d axis.

    Attributes:
        slices: Headers without pixels; attributes that must be there, if empty, are.
        by_sop_uid: The slice for each SOPInstanceUID that the volume names.
    """

    slices: tuple[pydicom.Dataset, ...]
    by_sop_uid: Mapping[str, pydicom.Dataset]

    @property
    def first(self) -> pydicom.Dataset:
        """The first slice: what it says of patient and study holds for all."""
        return self.slices[0]

    @property
    def moment(self) -> tuple[str, str]:
        """Date and time of the first slice, or a fixed one, so that a repeat has the same."""
        for kind in _MOMENTS:
            date, time = (str(self.first.get(f"{kind}{part}") or "") for part in ("Date", "Time"))
            if date and _parses(date, DA):
                return date, time if time and _parses(time, TM) else _FIXED_MOMENT[1]
        return _FIXED_MOMENT

    def key(self) -> tuple[str, ...]:
        """What identifies the slices, for UIDs that follow from content."""
        return (
            str(self.first.SeriesInstanceUID),
            *(str(ds.SOPInstanceUID) for ds in self.slices),
        )


def match_sources(
    volume: Volume,
    sources: Sequence[pydicom.Dataset | Path],
    stand_ins: Sequence[pydicom.Dataset | Path] | None = None,
) -> Sources:
    """Finds the slices of a volume among data sets or files.

    Args:
        volume: Names its slices by `sop_uids`.
        sources: Slices of the volume's series in any order; more than the volume names are fine.
        stand_ins: For each source, in the same order, what an output refers to in its place.

    Raises:
        DataError: A file cannot be read, a slice is missing, occurs twice or is of another series,
            or lacks an attribute that every CT slice has.
    """
    originals = [_header(source) for source in sources]
    named = originals if stand_ins is None else [_header(source) for source in stand_ins]
    if len(named) != len(originals):
        raise _unfit("there are not as many stand-ins as slices", code="data/other-slices")
    if any(ds.get("SeriesInstanceUID") != volume.series_uid for ds in originals):
        raise _unfit("a slice is of another series than the volume", code="data/other-slices")
    if len({ds.get("SeriesInstanceUID") for ds in named}) > 1:
        raise _unfit("the stand-ins are of several series", code="data/other-slices")
    by_sop_uid = {
        str(ds.get("SOPInstanceUID")): shown for ds, shown in zip(originals, named, strict=True)
    }
    if len(by_sop_uid) != len(originals) or not set(volume.sop_uids) <= set(by_sop_uid):
        raise _unfit("a slice of the volume is missing or occurs twice", code="data/other-slices")
    ordered = sorted(named, key=lambda ds: _depth(volume, ds))
    return Sources(slices=tuple(ordered), by_sop_uid=by_sop_uid)


def make_repeatable(dataset: pydicom.Dataset, sources: Sources) -> None:
    """Replaces clock times and random UIDs, and drops where the slices' scanner stands.

    The content's date and time become those of the slices; they do not say when it was computed.
    """
    dataset.ContentDate, dataset.ContentTime = sources.moment
    for keyword in ("InstanceCreationDate", "InstanceCreationTime"):
        dataset.pop(keyword, None)
    for equipment in dataset.get("ContributingEquipmentSequence", []):
        for keyword in (*_OF_EQUIPMENT, *_OF_DEVICE):
            equipment.pop(keyword, None)
    dimensions = derive_uid("dimensions", str(dataset.SOPInstanceUID))
    for name in ("DimensionOrganizationSequence", "DimensionIndexSequence"):
        for item in dataset.get(name, []):
            item.DimensionOrganizationUID = dimensions


def write_dicom(path: Path, dataset: pydicom.Dataset) -> None:
    """Writes a DICOM file (PS3.10), atomically.

    Raises:
        DataError: A value cannot be encoded.
        StorageError: The file cannot be written.
    """
    with explained("a DICOM file"), atomic_path(path) as temporary:
        dataset.save_as(temporary, enforce_file_format=True)


def _header(source: pydicom.Dataset | Path) -> pydicom.Dataset:
    """A copy without pixels and private attributes."""
    header = pydicom.Dataset()
    with explained("a slice"):
        for element in _open(source):
            if not element.tag.is_private and element.tag.group < 0x7FE0:
                header.add(element)
        for keyword in _MAY_BE_EMPTY:
            if not _is_well_formed(keyword, header.get(keyword)):
                header.add_new(keyword, dictionary_VR(keyword), "")
    if not header.get("FrameOfReferenceUID"):
        raise _unfit("a slice has no frame of reference", code="data/missing-geometry")
    return header


def _is_well_formed(keyword: str, value: object) -> bool:
    """Whether a patient or study attribute is there and may be copied as it is."""
    if value is None:
        return False
    if keyword.endswith(("Date", "Time")):
        return _parses(str(value), DA if keyword.endswith("Date") else TM)
    return keyword != "PatientSex" or str(value) in ("", "M", "F", "O")


def _parses(text: str, kind: type[DA] | type[TM]) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True


def _open(source: pydicom.Dataset | Path) -> pydicom.Dataset:
    if not isinstance(source, Path):
        return source
    try:
        return pydicom.dcmread(source, stop_before_pixels=True)
    except (OSError, InvalidDicomError):
        raise _unfit("a slice is not a readable DICOM file", code="data/damaged") from None


def _depth(volume: Volume, ds: pydicom.Dataset) -> tuple[float, str]:
    position = ds.get("ImagePositionPatient")
    if not position:
        raise _unfit("a slice has no position", code="data/missing-geometry")
    place_13 = np.array([[float(number) for number in position]])
    return float(volume.to_index(place_13)[0, 0]), str(ds.get("SOPInstanceUID"))


def _unfit(what: str, *, code: str) -> DataError:
    return DataError(
        what,
        whose="the slices of a CT series",
        fix="give each slice that the volume was read from, once, unchanged",
        code=code,
    )

"""Which slices may belong together, and which series must be refused for what its headers say."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from moekit_medical.dicom.consistency import check_persons, check_scaling
from moekit_medical.dicom.slices import EXPORT, Slice
from moekit_medical.dicom.verdict import RefusedError

MIN_SLICES = 3
MAX_SERIES_VOXELS = 2**30
MAX_PARTS = 64
SPACING_RANGE_MM = (0.001, 100.0)
FURTHEST_MM = 1e5
UNIT_TOLERANCE = 1e-3
"""By how much a direction's length may differ from 1, and two directions' dot product from 0."""

SAME_DIRECTION = 1e-4
"""By how much two slices' direction cosines, or pixel spacings in mm, may differ."""

_SPLIT = "split the series by orientation and matrix"
_NEEDED: tuple[tuple[str, Callable[[Slice], object]], ...] = (
    ("ImagePositionPatient", lambda one: one.position),
    ("ImageOrientationPatient", lambda one: one.orientation),
    ("PixelSpacing", lambda one: one.spacing),
    ("RescaleSlope", lambda one: one.slope),
    ("RescaleIntercept", lambda one: one.intercept),
)


def by_series(slices: Iterable[Slice]) -> list[list[Slice]]:
    """The slices of each SeriesInstanceUID, sorted by it and within it by SOPInstanceUID."""
    ordered = sorted(slices, key=lambda one: (one.series_uid, *_identity(one)))
    return [list(group) for _, group in itertools.groupby(ordered, lambda one: one.series_uid)]


def check_series(slices: Sequence[Slice]) -> None:
    """Refuses a series for what its headers say.

    PixelSpacing has no substitute: ImagerPixelSpacing (PS3.3 C.8.11.7) is measured at a detector,
    which a CT slice does not lie on. Without RescaleSlope and RescaleIntercept (PS3.3 C.11.1) the
    stored values have no unit.

    Raises:
        RefusedError: Modality or storage class are not CT, a file has a problem of its own, two
            patients, persons or studies share the series, an attribute that is needed is missing
            or malformed, or slices differ in the sign of their values.
    """
    problems = sorted({one.problem for one in slices if one.problem})
    if problems:
        first = problems[0]
        raise RefusedError(first.reason, fix=first.fix, code=first.code)
    if len({one.patient for one in slices}) > 1:
        raise RefusedError(
            "two or more PatientIDs share one SeriesInstanceUID",
            fix="separate the patients and give each series a UID of its own",
            code="data/several-patients",
        )
    check_persons(slices)
    if len({one.study_uid for one in slices}) > 1:
        raise RefusedError(
            "two or more StudyInstanceUIDs share one SeriesInstanceUID",
            fix="separate the studies and give each series a UID of its own",
            code="data/several-studies",
        )
    for name, value in _NEEDED:
        missing = sum(value(one) is None for one in slices)
        if missing:
            raise RefusedError(
                f"{name} is missing or malformed in {missing} of {len(slices)} slices",
                fix=EXPORT,
                code="data/missing-attribute",
            )
    _check_values(slices)
    check_scaling(slices)


def _check_values(slices: Sequence[Slice]) -> None:
    low, high = SPACING_RANGE_MM
    if any(not low <= value <= high for one in slices for value in one.spacing or ()):
        raise RefusedError(
            f"PixelSpacing is not within {low} to {high} mm", fix=EXPORT, code="data/bad-geometry"
        )
    if any(abs(value) > FURTHEST_MM for one in slices for value in one.position or ()):
        raise RefusedError(
            "ImagePositionPatient is further away than 100 m", fix=EXPORT, code="data/bad-geometry"
        )
    if any(one.slope == 0 for one in slices):
        raise RefusedError("RescaleSlope is 0", fix=EXPORT, code="data/not-hounsfield")
    if any(one.rescale_type != "HU" for one in slices):
        raise RefusedError(
            "RescaleType is not HU",
            fix="give images whose values are Hounsfield units",
            code="data/not-hounsfield",
        )
    for one in slices:
        row, column = np.array(one.orientation, dtype=float).reshape(2, 3)
        lengths = np.linalg.norm([row, column], axis=1)
        if np.any(np.abs(lengths - 1) > UNIT_TOLERANCE):
            raise RefusedError(
                "ImageOrientationPatient holds directions not of length 1",
                fix=EXPORT,
                code="data/bad-geometry",
            )
        if abs(row @ column) > UNIT_TOLERANCE:
            raise RefusedError(
                "ImageOrientationPatient holds directions not at right angles",
                fix=EXPORT,
                code="data/bad-geometry",
            )


def split_series(slices: Sequence[Slice]) -> list[list[Slice]]:
    """The parts of a checked series that share matrix, frame of reference, directions and spacing.

    Raises:
        RefusedError: The frames of one file fall into several parts, so that nobody knows what
            became of the file.
    """

    def exact(one: Slice) -> tuple[int, int, str]:
        return one.rows, one.columns, one.frame_of_reference_uid or ""

    parts: list[list[Slice]] = []
    ordered = sorted(slices, key=lambda one: (exact(one), _grid(one), _identity(one)))
    for one in ordered:
        for part in parts:
            if exact(one) == exact(part[0]) and np.allclose(
                _grid(one), _grid(part[0]), rtol=0, atol=SAME_DIRECTION
            ):
                part.append(one)
                break
        else:
            parts.append([one])
        if len(parts) > MAX_PARTS:
            raise RefusedError(
                f"the slices have more than {MAX_PARTS} orientations or matrices",
                fix=_SPLIT,
                code="data/mixed-geometry",
            )
    files = [name for part in parts for name in {one.source.token for one in part}]
    if len(files) != len(set(files)):
        raise RefusedError(
            "the frames of one file differ in orientation or pixel spacing",
            fix=_SPLIT,
            code="data/mixed-geometry",
        )
    return parts


def check_part(slices: Sequence[Slice]) -> None:
    """Refuses a part that is too small or too large to be a volume.

    Raises:
        RefusedError: Fewer than 3 slices, or more than 2**30 voxels.
    """
    if len(slices) < MIN_SLICES:
        raise RefusedError(
            f"{len(slices)} slices of one matrix and orientation are fewer than {MIN_SLICES}",
            fix="give the whole series",
            code="data/too-few-slices",
        )
    if len(slices) * slices[0].rows * slices[0].columns > MAX_SERIES_VOXELS:
        raise RefusedError(
            f"more than {MAX_SERIES_VOXELS} voxels",
            fix="give the series in parts",
            code="data/too-large",
        )


def _grid(one: Slice) -> tuple[float, ...]:
    return (*(one.orientation or ()), *(one.spacing or ()))


def _identity(one: Slice) -> tuple[str, int, str]:
    return one.sop_uid, one.frame, one.source.token

"""What the kit found at one place, and its records in JSON and CSV.

A record holds no patient, no institution and no path. The same findings make the same bytes,
whatever order they come in.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from moekit import DataError
from moekit.files import atomic_text
from moekit.files import write_json as write_json_file
from moekit.tables import CsvWriter

DISCLAIMER = "Research software, not for clinical use."
_SCORE_DIGITS, _PLACE_DIGITS = 6, 3
_COLUMNS = (
    "score",
    "size_mm",
    "centre_x_mm",
    "centre_y_mm",
    "centre_z_mm",
    "centre_d",
    "centre_h",
    "centre_w",
    "sop_uid",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """One suspicious place in a volume.

    Attributes:
        score: Probability of a lesion, in [0, 1].
        centre_mm: Centre (x, y, z) in patient coordinates, LPS, mm.
        centre_index: The same place as fractional voxel indices (d, h, w).
        sop_uid: SOPInstanceUID of the nearest slice.
        size_mm: Diameter in mm, positive.

    Raises:
        DataError: A number is not finite or lies out of its range.
    """

    score: float
    centre_mm: tuple[float, float, float]
    centre_index: tuple[float, float, float]
    sop_uid: str
    size_mm: float

    def __post_init__(self) -> None:
        numbers = (*self.centre_mm, *self.centre_index, self.size_mm)
        finite = all(math.isfinite(number) for number in numbers)
        if not finite or not 0 <= self.score <= 1 or self.size_mm <= 0:
            raise DataError(
                "a finding needs a score in [0, 1], a finite place and a positive size",
                whose="a finding",
                fix="check the numbers of the detector, and the affine of the volume",
                code="data/bad-finding",
            )


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings by descending score; equal scores by place, so that the order is always the same."""
    return tuple(
        sorted(
            findings, key=lambda f: (-f.score, f.centre_mm, f.centre_index, f.sop_uid, f.size_mm)
        )
    )


def write_json(path: Path, findings: Iterable[Finding]) -> None:
    """Writes findings and the disclaimer as JSON, atomically.

    Scores have 6 digits after the point, places and sizes 3.

    Raises:
        StorageError: The file cannot be written.
    """
    records = [_as_record(finding) for finding in in_order(findings)]
    write_json_file(path, {"disclaimer": DISCLAIMER, "coordinates": "LPS, mm", "findings": records})


def write_csv(path: Path, findings: Iterable[Finding]) -> None:
    """Writes one row a finding as CSV (RFC 4180), atomically; digits as in `write_json`.

    Raises:
        StorageError: The file cannot be written.
    """
    with atomic_text(path) as file:
        writer = CsvWriter(file)
        writer.writerow(_COLUMNS)
        for finding in in_order(findings):
            places = (finding.size_mm, *finding.centre_mm, *finding.centre_index)
            writer.writerow(
                [
                    f"{finding.score:.{_SCORE_DIGITS}f}",
                    *(f"{_place(number):.{_PLACE_DIGITS}f}" for number in places),
                    finding.sop_uid,
                ]
            )


def _as_record(finding: Finding) -> dict[str, Any]:
    return {
        "score": round(float(finding.score), _SCORE_DIGITS),
        "size_mm": _place(finding.size_mm),
        "centre_mm": [_place(number) for number in finding.centre_mm],
        "centre_index": [_place(number) for number in finding.centre_index],
        "sop_uid": finding.sop_uid,
    }


def _place(number: float) -> float:
    """Rounded, without the sign of a negative zero."""
    return round(float(number), _PLACE_DIGITS) + 0.0

"""The loader `dicom=PATH`: crops around candidates in DICOM CT series.

The folder holds DICOM files in any layout and `labels.csv`, one row a candidate: series
(SeriesInstanceUID), label, and its centre as x,y,z (LPS mm; PS3.3 C.7.6.2.1.1) or as sop
(SOPInstanceUID), row and column (pixels from 0, fractions allowed); patient (any pseudonym) and
split if known.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from moekit import DataError, Dataset, DatasetSpec
from moekit.data import complete_splits, parse_source
from moekit_medical.dicom.assemble import assemble
from moekit_medical.dicom.slices import Slice
from moekit_medical.dicom.subject import common_facts
from moekit_medical.hounsfield import WINDOW_HU
from moekit_medical.loaders.cache import Writer
from moekit_medical.loaders.crops import (
    CropError,
    Form,
    Scan,
    Stack,
    crop_stack,
    turn_to_patient,
)
from moekit_medical.loaders.examples import write_dicom_example
from moekit_medical.loaders.facts import facts_of_rows, facts_of_scan
from moekit_medical.loaders.labels import (
    Row,
    Table,
    fault,
    group_columns,
    join_groups,
    numbers,
    read_labels,
)
from moekit_medical.loaders.mended import note_repairs
from moekit_medical.loaders.options import parse_slices, parse_window
from moekit_medical.loaders.series_scan import Found, Unit, check_shared_ids, look_through
from moekit_medical.loaders.volumes import (
    Outcome,
    to_dataset,
    wanted_rows,
    write_crops,
    write_or_note,
)
from moekit_medical.privacy import token

_POINT, _PIXEL = ("x", "y", "z"), ("row", "column")


def load_dicom(path: Path | None, seed: int) -> Dataset:
    """Assembles the series and writes axial crops of 50 x 50 mm, 8 bits, below the cache.

    Every file is hashed and its header read each time; pixels are decoded only if the content,
    the rows or an option changed. Series with a patient or a study in common lie in one split: the
    patient is that of the column, else PatientID of the headers, which is compared and never shown.
    A PatientID or a study of two persons is refused unless the column says who is who.
    Ids are `TOKEN/LINE`: the token of the SeriesInstanceUID and the line of the table; the salt is
    the table's SHA-256, so ids are the same on every machine.

    Args:
        path: Folder; `PATH?window=LOW,HIGH` changes the window from -1000..400 HU,
            `PATH?slices=5` makes stacks of the slice and two on each side (see `crops`).
        seed: Of the split, if the table has none.

    Raises:
        DataError: The table cannot be used, splits leak, or an image in the cache was damaged.
        StorageError: The cache cannot be written.
    """
    folder, options = parse_source(path, known=("window", "slices"))
    form = Form(
        window=parse_window(options.get("window"), default=WINDOW_HU),
        slices=parse_slices(options.get("slices")),
    )
    table = read_labels(folder, needed=("series",))
    for row in table.rows:
        _check_centre(row)
    sops = {row.cells["sop"] for row in table.rows if row.cells.get("sop")}
    found = look_through(folder, salt=table.salt, sops=sops)
    notes = () if group_columns(table, ("patient",)) else _check_persons(table, found)
    outcome = Outcome(form=form)
    wanted = wanted_rows(table, outcome)
    for unit in found.units:
        rows = [row for row in wanted if row.cells["series"] in unit.series]
        if rows:
            make = functools.partial(_make_crops, unit, rows, table.salt, found.slices, form)
            outcome.take(rows, write_crops("dicom", unit.hashes, rows, form=form, make=make))
    absent = [row for row in wanted if row.cells["series"] not in found.studies]
    outcome.skip(absent, "no image of its series is there")
    dataset = to_dataset(
        table,
        outcome,
        name="dicom",
        ids={row.line: _id(row, table) for row in table.rows},
        groups=_groups(table, found),
        facts=facts_of_rows(table, scan_columns=("series",), stated=_stated(table, found)),
        source=f"{len(table.rows)} candidates in {len({r.cells['series'] for r in table.rows})} "
        "DICOM series",
        columns=("series", "sop", *_POINT, *_PIXEL),
    )
    dataset = dataclasses.replace(dataset, notes=(*found.notes, *notes, *dataset.notes))
    return complete_splits(dataset, seed=seed, note="column split, as given")


DICOM = DatasetSpec(
    name="dicom",
    load=load_dicom,
    summary="candidates in DICOM CT series, a CSV of series,label and x,y,z or sop,row,column",
    takes_path="required",
    licence="yours",
    example=write_dicom_example,
)


def _check_centre(row: Row) -> None:
    point, pixel = numbers(row, _POINT), numbers(row, _PIXEL)
    if (pixel is None) != (not row.cells.get("sop")):
        raise fault(
            row.line,
            "sop, row and column are not all filled or all empty",
            code="data/column-conflict",
        )
    if (point is None) == (pixel is None):
        raise fault(
            row.line,
            "it has not exactly one of the centres x,y,z and sop,row,column",
            code="data/column-conflict",
        )


def _make_crops(
    unit: Unit,
    rows: Sequence[Row],
    salt: bytes,
    slices: Mapping[str, list[Slice]],
    form: Form,
    writer: Writer,
) -> None:
    assembly = assemble(unit.path, salt=salt)
    parts: dict[str, list[_Part]] = {}
    for volume in assembly.volumes:
        part = _Part(
            scan=turn_to_patient(volume.hu_DHW, volume.affine), sops=frozenset(volume.sop_uids)
        )
        parts.setdefault(volume.series_uid, []).append(part)
    wanted = {row.cells["series"] for row in rows}
    used = [volume for volume in assembly.volumes if volume.series_uid in wanted]
    note_repairs(writer, [volume.repairs for volume in used])
    reasons = {refusal.series: refusal.reason for refusal in assembly.refused}
    for row in rows:
        series = row.cells["series"]
        reason = reasons.get(token(series, salt=salt), "no slice of it can be used")
        source = _Source(
            parts=tuple(parts.get(series, ())),
            reason=f"its series is refused: {reason}",
            slices=tuple(slices.get(row.cells.get("sop", ""), ())),
        )
        write_or_note(writer, row, form, functools.partial(_crop_row, row, source, form))


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Part:
    """A volume of a series, and the SOPInstanceUIDs of its slices."""

    scan: Scan
    sops: frozenset[str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Source:
    """What there is for one row: volumes of its series, why others are not, slices of its sop."""

    parts: tuple[_Part, ...]
    reason: str
    slices: tuple[Slice, ...]


def _crop_row(row: Row, source: _Source, form: Form) -> Stack:
    if not source.parts:
        raise CropError(source.reason)
    point = numbers(row, _POINT)
    place = np.array(point) if point is not None else _pixel_place(row, source.slices)
    sop = row.cells.get("sop")
    parts = [part for part in source.parts if not sop or sop in part.sops] or source.parts
    holding = [part for part in parts if part.scan.contains(place)]
    if len(holding) > 1:
        raise CropError("its centre lies in several parts of the series; give sop,row,column")
    return crop_stack((holding or parts)[0].scan, place, form=form)


def _pixel_place(row: Row, slices: Sequence[Slice]) -> np.ndarray:
    """(3,) LPS mm of a pixel's centre (PS3.3 C.7.6.2.1.1, equation C.7.6.2.1-1)."""
    of_series = [one for one in slices if one.series_uid == row.cells["series"]]
    if not of_series:
        raise CropError("its SOPInstanceUID is not in the series")
    first = of_series[0]
    if any(one.position != first.position for one in of_series):
        raise CropError("its SOPInstanceUID is of several slices; give x,y,z")
    if first.position is None or first.orientation is None or first.spacing is None:
        raise CropError("its slice does not say where it lies")
    h, w = numbers(row, _PIXEL) or (-1.0, -1.0)
    if not (-0.5 <= h <= first.rows - 0.5 and -0.5 <= w <= first.columns - 0.5):
        raise CropError("its row or column lies outside the slice")
    along_row, along_column = np.array(first.orientation).reshape(2, 3)
    place: np.ndarray = (
        np.array(first.position)
        + along_row * (w * first.spacing[1])
        + along_column * (h * first.spacing[0])
    )
    return place


def _id(row: Row, table: Table) -> str:
    return f"{token(row.cells['series'], salt=table.salt)}/{row.line}"


def _stated(table: Table, found: Found) -> Mapping[int, Mapping[str, str]]:
    """What the slices of each line's series agree on."""
    of_series = {
        name: facts_of_scan(common_facts([dict(facts) for facts in sorted(stated)]))
        for name, stated in found.facts.items()
    }
    return {row.line: of_series.get(row.cells["series"], {}) for row in table.rows}


def _check_persons(table: Table, found: Found) -> tuple[str, ...]:
    return check_shared_ids(
        found,
        dict.fromkeys(row.cells["series"] for row in table.rows),
        fix="correct the headers, or say who is who in a column patient (any pseudonym)",
    )


def _groups(table: Table, found: Found) -> Mapping[int, str]:
    columns = group_columns(table, ("patient",))

    def links(row: Row) -> list[tuple[str, str]]:
        series = row.cells["series"]
        stated = [] if columns else sorted(found.patients.get(series, set()) - {""})
        return [
            *((name, row.cells[name]) for name in columns),
            *(("patient", patient) for patient in stated),
            *(("study", study) for study in sorted(found.studies.get(series, set()) - {""})),
            ("series", series),
        ]

    groups = join_groups((row.line, links(row)) for row in table.rows)
    stated = {patient for patients in found.patients.values() for patient in patients}
    if not columns and len(found.patients) > 1 and len(stated) == 1 and stated != {""}:
        raise DataError(
            "the headers of all series state one patient, so the set cannot be split",
            whose="the DICOM files",
            fix="if they are of several patients, add a column patient (any pseudonym)",
            code="data/too-few-groups",
        )
    return groups

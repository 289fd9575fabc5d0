"""The series and volumes of a folder, each with the masks that are meant for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from moekit_medical.loaders.labels import (
    Row,
    Table,
    fault,
    file_in,
    join_groups,
    split_of,
    split_problem,
)
from moekit_medical.loaders.lesion_labels import Label, nifti_label
from moekit_medical.loaders.nifti_file import SUFFIXES
from moekit_medical.loaders.series_scan import Found
from moekit_medical.loaders.volumes import split_column
from moekit_medical.privacy import token

NO_SERIES = "no image of its series is there"
NO_MASK = "no mask refers to it"
OTHER_PATIENT = "its mask states another patient"
LOOSE = "the series that it refers to is not there"
LOST = "it refers to no series"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """One series or volume.

    Attributes:
        uid: SeriesInstanceUID, or the path of a volume below the folder; never shown.
        name: Its token.
        labels: Masks that are meant for it.
        problem: Why it cannot be used, as far as it is known before a voxel is read.
        file: A NIfTI volume; None for a series.
        patients: What the table or else the headers call the patient; never shown.
        split: As the table says; None if it does not.
    """

    uid: str = dataclasses.field(repr=False)
    name: str
    labels: tuple[Label, ...] = ()
    problem: str = ""
    file: Path | None = None
    patients: frozenset[str] = dataclasses.field(default=frozenset(), repr=False)
    split: str | None = None


def cases_of_folder(found: Found, labels: Sequence[Label], *, salt: bytes) -> list[Case]:
    """Every series of a folder without a table, with the masks that refer to it."""
    cases = []
    for uid in sorted(found.studies):
        meant = [label for label in labels if uid in label.series]
        cases.append(
            Case(
                uid=uid,
                name=token(uid, salt=salt),
                labels=tuple(meant),
                problem=_problem(uid, meant, found),
                patients=frozenset(found.patients.get(uid, set()) - {""}),
            )
        )
    return cases


def cases_of_table(table: Table, folder: Path, found: Found, labels: Sequence[Label]) -> list[Case]:
    """The series and volumes that a table lists, in its order; others are left aside.

    A mask of the table stands next to those that refer to the series.

    Raises:
        DataError: A line names not exactly one of series and volume, a volume without a mask, a
            file that leaves the folder, or another split than an earlier line of the same.
    """
    rows_of: dict[tuple[str, str], list[Row]] = {}
    for row in table.rows:
        rows_of.setdefault(_named(row), []).append(row)
    cases = []
    for (column, uid), rows in rows_of.items():
        meant = [label for row in rows for label in _mask(row, folder)]
        file = file_in(folder, rows[0], column) if column == "volume" else None
        if file is None:
            meant += [label for label in labels if uid in label.series]
        elif not file.name.lower().endswith(SUFFIXES):
            raise fault(
                rows[0].line,
                f"the volume's name ends with none of {', '.join(SUFFIXES)}",
                code="data/unknown-format",
            )
        split, problem = _split(rows, table)
        if not problem and file is None:
            problem = NO_SERIES if uid not in found.studies else _problem(uid, meant, found)
        cases.append(
            Case(
                uid=uid,
                name=token(uid, salt=table.salt),
                labels=tuple(meant),
                problem=problem,
                file=file,
                patients=frozenset(row.cells["patient"] for row in rows),
                split=split,
            )
        )
    return cases


def loose_labels(found: Found, labels: Sequence[Label]) -> Iterator[tuple[Label, str]]:
    """The masks that are of no series of the folder, and why."""
    for label in labels:
        if not label.series - {""}:
            yield label, label.problem or LOST
        elif not label.series & found.studies.keys():
            yield label, LOOSE


def unlisted(cases: Sequence[Case], found: Found, labels: Sequence[Label]) -> tuple[str, ...]:
    """A note on what of the folder the table does not name; empty if it names all."""
    listed = {case.uid for case in cases}
    series = len(found.studies.keys() - listed)
    masks = sum(not label.series & listed for label in labels)
    if not series and not masks:
        return ()
    return (
        f"left aside, as the table does not list them: {series} series of the folder, and "
        f"{masks} {'mask' if masks == 1 else 'masks'} of other series",
    )


def patient_groups(cases: Sequence[Case], found: Found) -> list[str]:
    """The group of each case: what has a patient or a study in common lies in one split.

    Groups are named by tokens.
    """

    def links(case: Case) -> list[tuple[str, str]]:
        studies = () if case.file else sorted(found.studies.get(case.uid, set()) - {""})
        return [
            *(("patient", patient) for patient in sorted(case.patients)),
            *(("study", study) for study in studies),
            ("case", case.uid),
        ]

    joined = join_groups((number, links(case)) for number, case in enumerate(cases))
    first: dict[str, str] = {}
    for number, case in enumerate(cases):
        name = first.get(joined[number], case.name)
        first[joined[number]] = min(name, case.name)
    return [f"patient {first[joined[number]]}" for number in range(len(cases))]


def _named(row: Row) -> tuple[str, str]:
    """Which of the columns series and volume a line fills, and with what."""
    filled = [name for name in ("series", "volume") if row.cells.get(name)]
    if len(filled) != 1:
        raise fault(
            row.line, "it has not exactly one of series and volume", code="data/column-conflict"
        )
    if filled == ["volume"] and not row.cells.get("mask"):
        raise fault(row.line, "it has a volume and no mask", code="data/missing-mask")
    return filled[0], row.cells[filled[0]]


def _mask(row: Row, folder: Path) -> list[Label]:
    if not row.cells.get("mask"):
        return []
    file = file_in(folder, row, "mask")
    if not file.name.lower().endswith(SUFFIXES):
        raise fault(
            row.line,
            f"the mask's name ends with none of {', '.join(SUFFIXES)}",
            code="data/unknown-format",
        )
    return [nifti_label(file)]


def _split(rows: Sequence[Row], table: Table) -> tuple[str | None, str]:
    """The split of a case, and why it is left out for it."""
    column = split_column(table)
    problem = split_problem(rows[0], column)
    if column is not None:
        for row in rows:
            if row.cells[column].lower() != rows[0].cells[column].lower():
                raise fault(
                    row.line,
                    f"its split is another than on line {rows[0].line}",
                    code="data/contradiction",
                )
    return (split_of(rows[0], column) if problem is None else None), problem or ""


def _problem(uid: str, labels: Sequence[Label], found: Found) -> str:
    if not labels:
        return NO_MASK
    known = found.patients.get(uid, set()) - {""}
    if any(label.patient and known and label.patient not in known for label in labels):
        return OTHER_PATIENT
    return ""

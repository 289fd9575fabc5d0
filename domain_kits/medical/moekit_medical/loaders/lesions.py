"""The loader `lesions=PATH`: axial CT slices, each with a mask of its lesions.

The folder holds DICOM files in any layout: CT series, and structure sets or segmentations that
refer to them (PS3.3 A.19 and A.51). A table `labels.csv` is needed for NIfTI files and may name
patients and splits: one line a mask with patient (any pseudonym), series (SeriesInstanceUID) or
volume (a NIfTI file in Hounsfield units), mask (a NIfTI label; without it the DICOM masks of the
series) and split. With a table only what it lists is used.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
import os
from collections.abc import Sequence
from pathlib import Path

from moekit import DataError, Dataset, DatasetSpec, ImageError, MaskTable, Sample, Skipped
from moekit.builtin.loaders import unread_columns
from moekit.data import check_file, complete_splits, parse_source
from moekit.files import sha256, to_json
from moekit_medical.dicom.assemble import assemble
from moekit_medical.hounsfield import WINDOW_WORDS
from moekit_medical.loaders.cache import Writer, cached, key_of
from moekit_medical.loaders.crops import CropError
from moekit_medical.loaders.facts import SCAN
from moekit_medical.loaders.labels import TABLE, Table, read_labels
from moekit_medical.loaders.lesion_blocks import NOTE, Place, deal_blocks
from moekit_medical.loaders.lesion_cases import (
    Case,
    cases_of_folder,
    cases_of_table,
    loose_labels,
    patient_groups,
    unlisted,
)
from moekit_medical.loaders.lesion_example import write_lesion_example
from moekit_medical.loaders.lesion_labels import Label, LabelFiles
from moekit_medical.loaders.lesion_slices import (
    BLANK,
    VERSION,
    Scan,
    note_reason,
    read_scan,
    write_scan,
)
from moekit_medical.loaders.masks.names import parse_names
from moekit_medical.loaders.mended import words_of
from moekit_medical.loaders.nifti_file import read_nifti
from moekit_medical.loaders.series_scan import Found, Unit, check_shared_ids, look_through
from moekit_medical.loaders.volumes import SPLIT
from moekit_medical.privacy import token
from moekit_medical.volume import Volume

CLASSES = ("background", "lesion")
LEAST_PATIENTS = 3
_MOST_NEGATIVES = 1000.0
_VALUES = MaskTable(values={0: 0, 1: 1})
_AREA = "lesion_area_mm2"


def load_lesions(path: Path | None, seed: int) -> Dataset:
    """Writes axial slices and their masks below the cache, 8 bits, and splits them by patient.

    Every file is hashed and its header read each time; pixels are decoded only if the content, the
    masks or an option changed. Series with a patient or a study in common lie in one split; without
    a table a PatientID or a study of two persons is refused. Ids are
    `TOKEN/SLICE`, the slice counted from the feet; the salt is the SHA-256 of the table, or else of
    all files, so ids are the same on every machine.

    Args:
        path: Folder; `PATH?negatives=2` takes two slices without a lesion for each with one (1 if
            nothing is said), `PATH?roi=gtv*,tumour` says how lesions are labelled, and
            `PATH?split=slices` splits the slices of scans in blocks if there are too few patients.
        seed: Of the split, if the table has none.

    Raises:
        DataError: The table or an option cannot be used, no series has a mask that fits it, there
            are fewer than three patients, or an image in the cache was damaged.
        StorageError: The cache cannot be written.
    """
    folder, options = parse_source(path, known=("negatives", "roi", "split"))
    names = parse_names(options.get("roi"))
    negatives = _parse_negatives(options.get("negatives"))
    in_blocks = _parse_split(options.get("split"))
    table: Table | None = None
    notes: tuple[str, ...] = ()
    if os.path.lexists(folder / TABLE):
        table = read_labels(folder, needed=("patient",), labelled=False)
        notes = unread_columns(table.columns, ("patient", "series", "volume", "mask", SPLIT))
    salt = table.salt if table else b"lesions"
    files = LabelFiles(names, salt=salt)
    found = look_through(folder, salt=salt, sops=(), visit=files.visit)
    if table is None:
        salt = _salt(found, files.labels)
        cases = cases_of_folder(found, files.labels, salt=salt)
        notes = check_shared_ids(
            found,
            [case.uid for case in cases if not case.problem],
            fix="correct the headers, or say who is who in a labels.csv with the columns patient "
            "(any pseudonym) and series",
        )
    else:
        cases = cases_of_table(table, folder, found, files.labels)
        notes += unlisted(cases, found, files.labels)
    asked = to_json([VERSION, WINDOW_WORDS, negatives, names.patterns])
    scans = _scans(cases, found, asked=asked, negatives=negatives, salt=salt)
    loose = [] if table else list(loose_labels(found, files.labels))
    dataset, places = _dataset(cases, scans, patient_groups(cases, found), salt)
    skipped = [Skipped(id=token(one.digest, salt=salt), reason=why) for one, why in loose]
    dataset = dataclasses.replace(
        dataset,
        skipped=(*dataset.skipped, *skipped),
        notes=(*dataset.notes, *found.notes, *notes),
    )
    return _split(dataset, places, table=table, seed=seed, in_blocks=in_blocks)


LESIONS = DatasetSpec(
    name="lesions",
    load=load_lesions,
    summary="axial CT slices with lesion masks of DICOM SEG, RT structure sets or NIfTI labels",
    takes_path="required",
    licence="yours",
    example=write_lesion_example,
)


def _parse_negatives(text: str | None) -> float:
    try:
        share = 1.0 if text is None else float(text)
    except ValueError:
        share = math.nan
    if not 0 <= share <= _MOST_NEGATIVES:  # not a number compares false
        raise DataError(
            f"the number of slices without a lesion is not between 0 and {_MOST_NEGATIVES:g}",
            whose="the option negatives",
            fix="write it as in ?negatives=2: two for each slice with a lesion",
            code="data/bad-option",
        )
    return share


def _parse_split(text: str | None) -> bool:
    if text not in (None, "slices"):
        raise DataError(
            "the way to split is not slices",
            whose="the option split",
            fix="write ?split=slices, or leave the option out to split by patient",
            code="data/bad-option",
        )
    return text is not None


def _salt(found: Found, labels: Sequence[Label]) -> bytes:
    digests = sorted(
        {*(one for unit in found.units for one in unit.hashes), *(one.digest for one in labels)}
    )
    return hashlib.sha256("".join(digests).encode()).digest()


def _scans(
    cases: Sequence[Case], found: Found, *, asked: str, negatives: float, salt: bytes
) -> dict[str, Scan]:
    """What became of each case, by its uid."""
    scans = {case.uid: Scan(reason=case.problem) for case in cases if case.problem}
    open_cases = [case for case in cases if not case.problem]
    for case in open_cases:
        if case.file is not None:
            scans[case.uid] = _volume_scan(case, case.file, asked=asked, negatives=negatives)
    for unit in found.units:
        own = sorted(
            (case for case in open_cases if case.file is None and case.uid in unit.series),
            key=lambda case: case.uid,
        )
        if own:
            make = functools.partial(_write_unit, unit, own, negatives, salt)
            key = key_of(asked, *map(_content, own), *unit.hashes)
            folder = cached("lesions", key, make)
            scans |= {case.uid: read_scan(folder, f"{n:03}") for n, case in enumerate(own)}
    return scans


def _content(case: Case) -> str:
    """What the slices of a case depend on next to the files of its series."""
    name = case.uid if case.file is None else ""
    labels = [(one.form, one.digest, one.problem, sorted(one.series)) for one in case.labels]
    return to_json([name, labels])


def _write_unit(
    unit: Unit, cases: Sequence[Case], negatives: float, salt: bytes, writer: Writer
) -> None:
    assembly = assemble(unit.path, salt=salt)
    reasons = {refusal.series: refusal.reason for refusal in assembly.refused}
    for number, case in enumerate(cases):
        name = f"{number:03}"
        parts = [one for one in assembly.volumes if one.series_uid == case.uid]
        if len(parts) == 1:
            write_scan(writer, name, parts[0], case.labels, negatives=negatives)
        elif parts:
            note_reason(writer, name, "its series holds several volumes")
        else:
            reason = reasons.get(token(case.uid, salt=salt), "no slice of it can be used")
            note_reason(writer, name, f"its series is refused: {reason}")


def _volume_scan(case: Case, file: Path, *, asked: str, negatives: float) -> Scan:
    try:
        check_file(file)
        digest = sha256(file)
    except ImageError as error:
        return Scan(reason=error.what)
    except OSError:
        return Scan(reason="the file cannot be read")

    def write(writer: Writer) -> None:
        try:
            read = read_nifti(file)
        except CropError as error:
            note_reason(writer, "000", str(error))
            return
        scan = read.scan
        volume = Volume(
            hu_DHW=scan.hu_DHW,
            affine=scan.affine,
            series_uid="",
            study_uid="",
            frame_of_reference_uid=None,
            sop_uids=tuple(map(str, range(len(scan.hu_DHW)))),
            repairs=read.repairs,
        )
        write_scan(writer, "000", volume, case.labels, negatives=negatives)

    return read_scan(cached("lesions", key_of(asked, _content(case), digest), write), "000")


def _dataset(
    cases: Sequence[Case], scans: dict[str, Scan], groups: Sequence[str], salt: bytes
) -> tuple[Dataset, dict[str, Place]]:
    """All samples, not split but by a table; and where each lies."""
    samples: list[Sample] = []
    skipped: list[Skipped] = []
    places: dict[str, Place] = {}
    for number, (case, group) in enumerate(zip(cases, groups, strict=True)):
        scan = scans[case.uid]
        facts = {**scan.facts, SCAN: f"scan {case.name}"}
        if scan.reason:
            skipped.append(Skipped(id=case.name, reason=scan.reason, split=case.split, facts=facts))
            continue
        for d, area in sorted(scan.area_mm2.items()):
            name = f"{case.name}/{d:04}"
            places[name] = Place(scan=number, d=d, step_mm=scan.step_mm)
            samples.append(
                Sample(
                    id=name,
                    path=scan.picture(d),
                    label=int(area > 0),
                    group=group,
                    split=case.split,
                    facts={**facts, _AREA: f"{area:.0f}"} if area else facts,
                    mask=scan.mask(d),
                    mask_table=_VALUES,
                )
            )
        skipped += [
            Skipped(
                id=f"{case.name}/{d:04}",
                reason=BLANK,
                label=int(lesion),
                split=case.split,
                facts=facts,
            )
            for d, lesion in sorted(scan.blank.items())
        ]
    if not samples:
        why = skipped[0].reason if skipped else "no CT series is there"
        raise DataError(
            f"no series has masks of lesions that can be used ({why})",
            whose="the folder given",
            fix="add structure sets or segmentations that refer to the series, or a labels.csv",
            code="data/no-mask",
        )
    used = {place.scan for place in places.values()}
    mended = [scan.repairs for scan in scans.values() if scan.repairs and not scan.reason]
    source = (
        f"{len(used)} CT scans with masks of lesions; axial slices, {WINDOW_WORDS}"
        f"{words_of(mended)}"
    )
    dataset = Dataset(
        name=f"lesions {salt.hex()[:12]}",
        samples=tuple(samples),
        classes=CLASSES,
        licence="yours",
        source=source,
        skipped=tuple(skipped),
        positive="lesion",
    )
    return dataset, places


def _split(
    dataset: Dataset,
    places: dict[str, Place],
    *,
    table: Table | None,
    seed: int,
    in_blocks: bool,
) -> Dataset:
    has_split = any(sample.split for sample in dataset.samples)
    every_class = {sample.label for sample in dataset.samples} == {0, 1}
    if in_blocks:
        if has_split:
            raise DataError(
                "the table has splits of its own",
                whose="the option split",
                fix="leave the option out, or remove the column split",
                code="data/bad-option",
            )
        dataset, note = deal_blocks(dataset, places), NOTE
        # Slices without a lesion lie beyond it, so a block in its middle has none.
        return complete_splits(dataset, seed=seed, note=note, every_class=False)
    patients = len({sample.group for sample in dataset.samples})
    if not has_split and patients < LEAST_PATIENTS:
        raise DataError(
            f"the slices are of {patients} patient{'s' if patients > 1 else ''}, so the set cannot "
            "be split by patient",
            whose=dataset.name,
            fix="add patients, or add ?split=slices, whose results say nothing of other patients"
            + ("" if table else "; if they are of several patients, name them in labels.csv"),
            code="data/too-few-groups",
        )
    return complete_splits(
        dataset, seed=seed, note="column split, as given", every_class=every_class
    )

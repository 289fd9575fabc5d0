"""The loader `nifti=PATH`: crops around candidates in NIfTI volumes.

The folder holds `labels.csv`, one row a candidate: volume (a .nii or .nii.gz file below the folder,
in Hounsfield units), label, and its centre as x,y,z or as d,h,w; patient and split if known.
x,y,z are LPS mm (DICOM PS3.3 C.7.6.2.1.1; NIfTI itself counts in RAS, whose x and y have the other
sign). d,h,w are indices from 0, fractions allowed, along the file's third, second and first axis.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from moekit import Dataset, DatasetSpec, ImageError
from moekit.data import check_file, complete_splits, parse_source
from moekit.files import sha256
from moekit_medical.hounsfield import WINDOW_HU
from moekit_medical.loaders.cache import Writer
from moekit_medical.loaders.crops import CropError, Form, Stack, crop_stack
from moekit_medical.loaders.examples import write_nifti_example
from moekit_medical.loaders.facts import facts_of_rows
from moekit_medical.loaders.labels import (
    Row,
    Table,
    fault,
    file_in,
    group_columns,
    join_groups,
    numbers,
    read_labels,
)
from moekit_medical.loaders.mended import note_repairs
from moekit_medical.loaders.nifti_file import SUFFIXES, NiftiVolume, read_nifti
from moekit_medical.loaders.options import parse_slices, parse_window
from moekit_medical.loaders.volumes import (
    Outcome,
    to_dataset,
    wanted_rows,
    write_crops,
    write_or_note,
)
from moekit_medical.privacy import token

_POINT, _INDEX = ("x", "y", "z"), ("d", "h", "w")


def load_nifti(path: Path | None, seed: int) -> Dataset:
    """Reads the volumes and writes axial crops of 50 x 50 mm, 8 bits, below the cache.

    Each volume's crops are kept by the content of the volume, the rows and the options, so a run
    that was interrupted goes on at the next volume. Volumes with a patient or their bytes in common
    lie in one split. Ids are `TOKEN/LINE`: the token of the volume's name and the line of the
    table.

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
    table = read_labels(folder, needed=("volume",))
    files = {row.line: _check_row(row, folder) for row in table.rows}
    outcome = Outcome(form=form)
    rows_of: dict[Path, list[Row]] = {}
    for row in wanted_rows(table, outcome):
        rows_of.setdefault(files[row.line], []).append(row)
    hashes: dict[Path, str] = {}
    for file, rows in rows_of.items():
        try:
            check_file(file)
            hashes[file] = sha256(file)
        except ImageError as error:
            outcome.skip(rows, error.what)
        except OSError:
            outcome.skip(rows, "the file cannot be read")
        else:
            make = functools.partial(_make_crops, file, rows, form)
            images = write_crops("nifti", (hashes[file],), rows, form=form, make=make)
            outcome.take(rows, images)
    dataset = to_dataset(
        table,
        outcome,
        name="nifti",
        ids={row.line: _id(row, table) for row in table.rows},
        groups=_groups(table, files, hashes),
        facts=facts_of_rows(table, scan_columns=("volume",)),
        source=f"{len(table.rows)} candidates in {len(set(files.values()))} NIfTI volumes",
        columns=("volume", *_POINT, *_INDEX),
    )
    return complete_splits(dataset, seed=seed, note="column split, as given")


NIFTI = DatasetSpec(
    name="nifti",
    load=load_nifti,
    summary="candidates in NIfTI volumes, a CSV of volume,label and x,y,z (LPS mm) or d,h,w",
    takes_path="required",
    licence="yours",
    example=write_nifti_example,
)


def _check_row(row: Row, folder: Path) -> Path:
    """The volume of a row that can be meant."""
    file = file_in(folder, row, "volume")
    if not file.name.lower().endswith(SUFFIXES):
        raise fault(
            row.line,
            f"the volume's name ends with none of {', '.join(SUFFIXES)}",
            code="data/unknown-format",
        )
    if (numbers(row, _POINT) is None) == (numbers(row, _INDEX) is None):
        raise fault(
            row.line,
            "it has not exactly one of the centres x,y,z and d,h,w",
            code="data/column-conflict",
        )
    return file


def _make_crops(file: Path, rows: Sequence[Row], form: Form, writer: Writer) -> None:
    try:
        volume = read_nifti(file)
    except CropError as error:
        for row in rows:
            write_or_note(writer, row, form, functools.partial(_fail, str(error)))
        return
    note_repairs(writer, [volume.repairs])
    for row in rows:
        write_or_note(writer, row, form, functools.partial(_crop_row, row, volume, form))


def _fail(reason: str) -> Stack:
    raise CropError(reason)


def _crop_row(row: Row, volume: NiftiVolume, form: Form) -> Stack:
    point = numbers(row, _POINT)
    if point is not None:
        if not volume.place.is_placed:
            raise CropError("the volume has no qform or sform, so only d,h,w can be used")
        return crop_stack(volume.scan, np.array(point), form=form)
    index = np.array([*(numbers(row, _INDEX) or ()), 1.0])
    return crop_stack(volume.scan, (volume.place.affine @ index)[:3], form=form)


def _id(row: Row, table: Table) -> str:
    return f"{token(row.cells['volume'], salt=table.salt)}/{row.line}"


def _groups(
    table: Table, files: Mapping[int, Path], hashes: Mapping[Path, str]
) -> Mapping[int, str]:
    columns = group_columns(table, ("patient",))

    def links(row: Row) -> list[tuple[str, str]]:
        file = files[row.line]
        content = [("volume", f"content {hashes[file]}")] if file in hashes else []
        return [
            *((name, row.cells[name]) for name in columns),
            ("volume", f"file {file}"),
            *content,
        ]

    return join_groups((row.line, links(row)) for row in table.rows)

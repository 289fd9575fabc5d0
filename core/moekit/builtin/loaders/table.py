"""Label tables: a CSV that names images, labels and, where known, splits and groups."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from moekit.builtin.loaders.labels import two_classes
from moekit.data.images import check_file, relative_id
from moekit.data.samples import SPLITS, Dataset, Sample, Skipped
from moekit.errors import DataError, ImageError

_KNOWN = ("path", "label", "split", "group", "target", "subtype", "mask")
_LARGEST = 200 * 2**20


def read_table(table: Path) -> Dataset:
    """Reads a CSV with the columns path and label.

    It may have the columns split, group, target, subtype and mask (of the positive pixels, where
    there is one) too; others are ignored. Paths are relative to the table's folder and may not
    leave it. The delimiter is a comma or a semicolon.

    Args:
        table: The CSV file, UTF-8.

    Raises:
        DataError: The table cannot be read, a line is wrong, or lines contradict each other.
    """
    rows = list(read_rows(table, needed=("path", "label"), known=_KNOWN))
    if not rows:
        raise DataError(
            "the table names no image", whose=str(table), fix="add a line an image below the header"
        )
    classes = two_classes((row["label"] for _, row in rows), whose=str(table))
    samples: dict[str, Sample] = {}
    skipped: list[Skipped] = []
    for line, row in rows:
        sample = _sample(row, table, line, classes)
        if sample.id in samples:
            raise _fault(table, line, f"{sample.id} is listed twice")
        try:
            check_file(sample.path)
        except ImageError as error:
            skipped.append(Skipped(id=sample.id, reason=error.what))
        else:
            samples[sample.id] = sample
    _check_filled(list(samples.values()), table)
    return Dataset(
        name=table.parent.name if table.name == "labels.csv" else table.stem,
        samples=tuple(sorted(samples.values(), key=lambda sample: sample.id)),
        classes=classes,
        source=f"a table of {len(rows)} images",
        skipped=tuple(skipped),
    )


def read_rows(
    table: Path, *, needed: Sequence[str], known: Sequence[str]
) -> Iterator[tuple[int, Mapping[str, str]]]:
    """The lines of a CSV below its header, with their numbers, each by the names of its columns.

    Args:
        table: The CSV file, UTF-8, with commas or semicolons.
        needed: Columns that there must be; none of their cells may be empty.
        known: Columns that an error names.

    Raises:
        DataError: The table cannot be read, or a line is wrong.
    """
    try:
        if table.stat().st_size > _LARGEST:
            raise DataError(
                "the table is larger than 200 MiB", whose=str(table), fix="split it into parts"
            )
        text = table.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"the table cannot be read ({error})",
            whose=str(table),
            fix=f"save it as CSV in UTF-8, with the columns {','.join(needed)}",
        ) from error
    header = text.split("\n", 1)[0]
    delimiter = ";" if header.count(";") > header.count(",") else ","
    reader = csv.DictReader(io.StringIO(text), delimiter=delimiter, strict=True)
    try:
        columns = [name.strip().lower() for name in reader.fieldnames or ()]
    except csv.Error as error:
        raise _fault(table, 1, str(error)) from error
    missing = [name for name in needed if name not in columns]
    if missing or len(set(columns)) < len(columns):
        what = f"no column {missing[0]!r}" if missing else "a column twice"
        raise DataError(
            f"the table has {what}",
            whose=f"{table}, line 1",
            fix=f"begin it with a header of {','.join(needed)}; known columns: {', '.join(known)}",
        )
    reader.fieldnames = columns
    try:
        for row in reader:
            if None in row or None in row.values():
                raise _fault(table, reader.line_num, "it has another number of columns")
            cells = {name: value.strip() for name, value in row.items()}
            empty = [name for name in needed if not cells[name]]
            if empty:
                raise _fault(table, reader.line_num, f"it has no {empty[0]}")
            yield reader.line_num, cells
    except csv.Error as error:
        raise _fault(table, reader.line_num, str(error)) from error


def _sample(row: Mapping[str, str], table: Path, line: int, classes: tuple[str, str]) -> Sample:
    target = row.get("target") or None
    split = row.get("split") or None
    if split is not None and split not in SPLITS:
        raise _fault(table, line, f"the split {split!r} is none of {', '.join(SPLITS)}")
    image = path_in(table, line, row["path"])
    mask = path_in(table, line, row["mask"]) if row.get("mask") else None
    if mask is not None and not mask.is_file():
        raise _fault(table, line, f"there is no mask {row['mask']!r}")
    return Sample(
        id=relative_id(image, table.parent),
        path=image,
        label=classes.index(row["label"]),
        target=None if target is None else _probability(target, table, line),
        group=row.get("group") or None,
        subtype=row.get("subtype") or None,
        split=split,
        mask=mask,
    )


def path_in(table: Path, line: int, text: str) -> Path:
    """The path that a line names, below the table's folder.

    Raises:
        DataError: It is empty or leaves the folder.
    """
    path = PurePosixPath(text.replace("\\", "/"))
    if not path.parts or path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        raise _fault(table, line, f"the path {text!r} is empty or leaves the folder")
    return table.parent / path


def _probability(text: str, table: Path, line: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise _fault(table, line, f"the target {text!r} is no number from 0 to 1")
    return value


def _check_filled(samples: Sequence[Sample], table: Path) -> None:
    """A column that only some lines fill says nothing certain about the others."""
    for name in ("split", "group"):
        empty = [sample for sample in samples if getattr(sample, name) is None]
        if empty and len(empty) < len(samples):
            raise DataError(
                f"{len(empty)} images have no {name}, such as {empty[0].id}; the others have one",
                whose=str(table),
                fix=f"fill the column {name} in each line, or remove it",
            )


def _fault(table: Path, line: int, what: str) -> DataError:
    return DataError(
        f"the line cannot be used: {what}",
        whose=f"{table}, line {line}",
        fix="correct that line",
    )

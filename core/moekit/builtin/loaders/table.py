"""Label tables: a CSV that names images, labels and, where known, splits and groups."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from moekit.builtin.loaders.labels import NEGATIVE_NAMES, ClassNames, order_classes
from moekit.data.images import relative_id
from moekit.data.plain_files import check_file
from moekit.data.samples import SPLITS, Dataset, Sample, Skipped
from moekit.errors import DataError, ImageError

_KNOWN = ("path", "label", "labels", "split", "group", "target", "subtype", "mask")
_LARGEST = 200 * 2**20
_BETWEEN = "|"
CLASSES = "classes.txt"
"""A file beside a table that names its classes, one a line, in the order of the labels."""


def read_table(table: Path) -> Dataset:
    """Reads a CSV with the columns path and label, or path and labels.

    The cells of `labels` hold any number of class names with `|` between them. The table may have
    the columns split, group, target, subtype and mask (of the positive pixels, if there is one)
    too; others are ignored. Paths are relative to the table's folder and may not leave it. The
    delimiter is a comma or a semicolon. If a file classes.txt lies beside the table, it gives the
    classes and their order.

    Args:
        table: The CSV file, UTF-8.

    Raises:
        DataError: The table cannot be read, a line is wrong, or lines contradict each other.
    """
    several = "labels" in _header(table)
    needed = ("path",) if several else ("path", "label")
    rows = list(read_rows(table, needed=needed, known=_KNOWN))
    if not rows:
        raise DataError(
            "the table names no image",
            whose=str(table),
            fix="add a line an image below the header",
            code="data/no-image",
        )
    if several and "label" in rows[0][1]:
        raise DataError(
            "the table has a column label and a column labels",
            whose=f"{table}, line 1",
            fix="remove one of them",
            code="data/bad-header",
        )
    named = [(line, _names(row, several)) for line, row in rows]
    classes, has_negative = _classes(named, table, several=several)
    samples: dict[str, Sample] = {}
    skipped: list[Skipped] = []
    for (line, row), (_, names) in zip(rows, named, strict=True):
        sample = _sample(row, table, line, _numbers(names, classes, table, line), several=several)
        if sample.id in samples:
            raise _fault(table, line, f"{sample.id} is listed twice", code="data/duplicate-id")
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
        has_negative=has_negative,
    )


def _header(table: Path) -> list[str]:
    """The names of the columns, as `read_rows` takes them; empty if there is no such line."""
    try:
        with table.open(encoding="utf-8-sig") as file:
            header = file.readline(_LARGEST)
    except (OSError, UnicodeDecodeError):
        return []  # read_rows says what is wrong
    return [name.strip(' "\r\n').lower() for name in header.replace(";", ",").split(",")]


def _names(row: Mapping[str, str], several: bool) -> tuple[str, ...]:
    if not several:
        return (row["label"],)
    return tuple(dict.fromkeys(filter(None, map(str.strip, row["labels"].split(_BETWEEN)))))


def _classes(
    named: Sequence[tuple[int, tuple[str, ...]]], table: Path, *, several: bool
) -> ClassNames:
    """The classes of classes.txt if it is there, else those that the lines name."""
    listed = table.parent / CLASSES
    found = {name for _, names in named for name in names}
    if listed.is_file():
        return _listed_classes(listed)
    if not several:
        return order_classes(found, whose=str(table))
    if len(found) < 2:
        raise DataError(
            f"{len(found)} classes were found ({', '.join(found) or 'none'}), not two or more",
            whose=str(table),
            fix=f"name the classes of each image in the column labels, with {_BETWEEN} between",
            code="data/class-count",
        )
    return ClassNames(tuple(sorted(found)), False)


def _listed_classes(path: Path) -> ClassNames:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"the list of classes cannot be read ({error})",
            whose=str(path),
            fix="save it as UTF-8, one name a line",
            code="data/class-list",
        ) from error
    names = [line.strip() for line in lines if line.strip()]
    if len(names) < 2 or len(set(names)) < len(names):
        raise DataError(
            "the list holds fewer than two classes, or one of them twice",
            whose=str(path),
            fix="write each class once, one name a line",
            code="data/class-list",
        )
    negative = len(names) == 2 and names[0].lower() in NEGATIVE_NAMES
    return ClassNames(tuple(names), negative)


def _numbers(
    names: Sequence[str], classes: Sequence[str], table: Path, line: int
) -> tuple[int, ...]:
    unknown = [name for name in names if name not in classes]
    if unknown:
        raise _fault(
            table, line, f"the label {unknown[0]!r} is not in {CLASSES}", code="data/unknown-class"
        )
    return tuple(sorted(classes.index(name) for name in names))


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
                "the table is larger than 200 MiB",
                whose=str(table),
                fix="split it into parts",
                code="data/too-large",
            )
        text = table.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"the table cannot be read ({error})",
            whose=str(table),
            fix=f"save it as CSV in UTF-8, with the columns {','.join(needed)}",
            code="data/unreadable",
        ) from error
    header = text.split("\n", 1)[0]
    delimiter = ";" if header.count(";") > header.count(",") else ","
    reader = csv.DictReader(io.StringIO(text), delimiter=delimiter, strict=True)
    try:
        columns = [name.strip().lower() for name in reader.fieldnames or ()]
    except csv.Error as error:
        raise _fault(table, 1, str(error), code="data/bad-line") from error
    missing = [name for name in needed if name not in columns]
    if missing or len(set(columns)) < len(columns):
        what = f"no column {missing[0]!r}" if missing else "a column twice"
        raise DataError(
            f"the table has {what}",
            whose=f"{table}, line 1",
            fix=f"begin it with a header of {','.join(needed)}; known columns: {', '.join(known)}",
            code="data/bad-header",
        )
    reader.fieldnames = columns
    try:
        for row in reader:
            if None in row or None in row.values():
                raise _fault(
                    table,
                    reader.line_num,
                    "it has another number of columns",
                    code="data/row-length",
                )
            cells = {name: value.strip() for name, value in row.items()}
            empty = [name for name in needed if not cells[name]]
            if empty:
                raise _fault(
                    table, reader.line_num, f"it has no {empty[0]}", code="data/empty-cell"
                )
            yield reader.line_num, cells
    except csv.Error as error:
        raise _fault(table, reader.line_num, str(error), code="data/bad-line") from error


def _sample(
    row: Mapping[str, str], table: Path, line: int, labels: tuple[int, ...], *, several: bool
) -> Sample:
    target = row.get("target") or None
    split = row.get("split") or None
    if split is not None and split not in SPLITS:
        raise _fault(
            table,
            line,
            f"the split {split!r} is none of {', '.join(SPLITS)}",
            code="data/unknown-split",
        )
    image = path_in(table, line, row["path"])
    mask = path_in(table, line, row["mask"]) if row.get("mask") else None
    if mask is not None and not mask.is_file():
        raise _fault(table, line, f"there is no mask {row['mask']!r}", code="data/missing-mask")
    return Sample(
        id=relative_id(image, table.parent),
        path=image,
        label=labels[0] if labels else 0,
        labels=labels if several else None,
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
        raise _fault(
            table, line, f"the path {text!r} is empty or leaves the folder", code="data/bad-path"
        )
    return table.parent / path


def _probability(text: str, table: Path, line: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise _fault(
            table, line, f"the target {text!r} is no number from 0 to 1", code="data/bad-value"
        )
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
                code="data/half-filled",
            )


def _fault(table: Path, line: int, what: str, *, code: str) -> DataError:
    return DataError(
        f"the line cannot be used: {what}",
        whose=f"{table}, line {line}",
        fix="correct that line",
        code=code,
    )

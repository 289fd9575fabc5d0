"""Label tables: a CSV that names images, labels and, if known, splits and groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from moekit.builtin.loaders.labels import (
    ClassNames,
    alike_notes,
    is_negative_name,
    order_classes,
)
from moekit.builtin.loaders.masks_told import check_masks
from moekit.builtin.loaders.rows import (
    check_filled,
    check_once,
    fault,
    path_in,
    read_header,
    read_rows,
    split_in,
    unread_columns,
)
from moekit.data.checks import check_named
from moekit.data.images import relative_id
from moekit.data.options import composed
from moekit.data.plain_files import check_file
from moekit.data.samples import MASK_OF, Dataset, Sample, Skipped, split_notes
from moekit.data.survey import none_usable
from moekit.data.unlisted import unlisted_notes
from moekit.errors import DataError, ImageError
from moekit.files import read_text
from moekit.text import many

_KNOWN = ("path", "label", "labels", "split", "group", "target", "subtype", "mask")
_BETWEEN = "|"
_IF_EMPTY = {
    "label": "write the label; if images have several labels or none, call the column labels, of "
    "which a cell may be empty"
}
CLASSES = "classes.txt"
"""A file next to a table that names its classes, one a line, in the order of the labels."""


def read_table(table: Path) -> Dataset:
    """Reads a CSV with the columns path and label, or path and labels.

    The cells of `labels` hold any number of class names with `|` between them. The table may have
    the columns split, group, target, subtype and mask (of the positive pixels, if there is one)
    too; others are not read, and that is noted, as are pictures next to listed ones that no line
    names. Paths are relative to the table's folder and may
    not leave it. How lines may look is said in `moekit.builtin.loaders.rows`. If a file classes.txt
    lies next to the table, it gives the classes and their order.

    An image that is not there is left out by name. A mask that is not there is named too; its image
    keeps the path, so that whatever looks at masks leaves the image out and nobody takes it for one
    without a mark.

    Args:
        table: The CSV file, UTF-8.

    Raises:
        DataError: The table cannot be read, a line is wrong, lines contradict each other, or none
            of the images is there.
    """
    header = read_header(table)
    several = "labels" in header
    needed = ("path",) if several else ("path", "label")
    rows = list(read_rows(table, needed=needed, known=_KNOWN, if_empty=_IF_EMPTY))
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
    if not several:
        _check_single(named, table)
    classes, has_negative = _classes(named, table, several=several)
    samples: dict[str, Sample] = {}
    files: list[Path] = []
    skipped: list[Skipped] = []
    near = _Near()
    lines: dict[str, int] = {}
    numbers = {name: number for number, name in enumerate(classes)}
    for (line, row), (_, names) in zip(rows, named, strict=True):
        sample = _sample(row, table, line, _numbers(names, numbers, table, line), several=several)
        check_once(sample.id, line, lines, table)
        files += [path for path in (sample.path, sample.mask) if path is not None]
        reason = _fault_of(sample.path, near)
        if reason is not None:
            skipped.append(Skipped(id=sample.id, reason=reason))
            continue
        if sample.mask is not None and (reason := _fault_of(sample.mask, near)) is not None:
            named_as = f"{MASK_OF}{sample.id}"
            skipped.append(Skipped(id=named_as, reason=f"{row['mask']}: {reason}"))
        samples[sample.id] = sample
    if not samples:
        raise DataError(
            none_usable(skipped),
            whose=str(table),
            fix="correct the paths; they are relative to the folder of the table, and upper and "
            "lower case differ",
            code="data/no-image",
        )
    kept = list(samples.values())
    check_filled(kept, table)
    dataset = Dataset(
        name=table.parent.name if table.name == "labels.csv" else table.stem,
        samples=tuple(sorted(samples.values(), key=lambda sample: sample.id)),
        classes=classes,
        source=f"a table of {len(rows)} images",
        skipped=tuple(skipped),
        has_negative=has_negative,
        notes=(
            *_notes(header, [row for _, row in rows], classes, skipped),
            *check_masks(kept, table),
            *(_target_notes(kept) if has_negative else ()),
            *unlisted_notes(files),
        ),
    )
    check_named(dataset, {numbers[name] for _, names in named for name in names})
    return dataset


def _notes(
    header: Sequence[str],
    rows: Sequence[Mapping[str, str]],
    classes: Sequence[str],
    skipped: Sequence[Skipped],
) -> tuple[str, ...]:
    """What was taken for granted."""
    notes = [*split_notes(row.get("split", "") for row in rows), *alike_notes(classes)]
    notes += unread_columns(header, _KNOWN)
    lost = [skip for skip in skipped if skip.id.startswith(MASK_OF)]
    if lost:
        notes.append(
            f"{many(len(lost), 'mask', 'masks')} that the table names cannot be used, such as the "
            f"{lost[0].id} ({lost[0].reason}); such images are in no figure that needs masks"
        )
    return tuple(notes)


def _target_notes(samples: Sequence[Sample]) -> tuple[str, ...]:
    """Sentences on targets that contradict the labels of two classes, or that some lack."""
    given = [sample for sample in samples if sample.target is not None]
    other = [one for one in given if ((one.target or 0) - 0.5) * (one.label - 0.5) < 0]
    notes = []
    if other:
        notes.append(
            f"the target of {many(len(other), 'image', 'images')} is on the other side of 0.5 than "
            f"the label, such as of {other[0].id}; only a recipe with soft targets learns targets"
        )
    if given and len(given) < len(samples):
        notes.append(
            f"{len(given)} of {len(samples)} images have a target; of the others the label is taken"
        )
    return tuple(notes)


class _Near:
    """Files of folders by their names in lower case; each folder is listed once."""

    def __init__(self) -> None:
        self._folders: dict[Path, dict[str, str]] = {}

    def __call__(self, path: Path) -> str | None:
        """The name of a file that differs from a path in upper and lower case only."""
        if path.parent not in self._folders:
            try:
                names = [one.name for one in path.parent.iterdir()]
            except OSError:
                names = []
            self._folders[path.parent] = {name.lower(): name for name in sorted(names)}
        return self._folders[path.parent].get(path.name.lower())


def _fault_of(path: Path, near: _Near) -> str | None:
    """Why a file cannot be used; None if it can."""
    try:
        check_file(path)
    except ImageError as error:
        other = near(path) if error.code == "image/not-found" else None
        return error.what if other is None else f"{error.what}, but {other} does"
    return None


def _names(row: Mapping[str, str], several: bool) -> tuple[str, ...]:
    if not several:
        return (row["label"],)
    return tuple(dict.fromkeys(filter(None, map(str.strip, row["labels"].split(_BETWEEN)))))


def _check_single(named: Sequence[tuple[int, tuple[str, ...]]], table: Path) -> None:
    """Refuses several labels in the column of one."""
    line = next((line for line, names in named if any(_BETWEEN in one for one in names)), None)
    if line is not None:
        raise DataError(
            f"a cell of the column label holds {_BETWEEN!r}, which separates several labels",
            whose=f"{table}, line {line}",
            fix="call the column labels if an image has several, or name the class without it",
            code="data/several-labels",
        )


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
            f"{many(len(found), 'class was', 'classes were')} found "
            f"({', '.join(found) or 'none'}), not two or more",
            whose=str(table),
            fix=f"name the classes of each image in the column labels, with {_BETWEEN} between",
            code="data/class-count",
        )
    return ClassNames(tuple(sorted(found)), False)


def _listed_classes(path: Path) -> ClassNames:
    try:
        lines = read_text(path, encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"the list of classes cannot be read ({error})",
            whose=str(path),
            fix="save it as UTF-8, one name a line",
            code="data/class-list",
        ) from error
    names = [composed(line.strip()) for line in lines if line.strip()]
    if len(names) < 2 or len(set(names)) < len(names):
        raise DataError(
            "the list holds fewer than two classes, or one of them twice",
            whose=str(path),
            fix="write each class once, one name a line",
            code="data/class-list",
        )
    negative = len(names) == 2 and is_negative_name(names[0])
    return ClassNames(tuple(names), negative)


def _numbers(
    names: Sequence[str], numbers: Mapping[str, int], table: Path, line: int
) -> tuple[int, ...]:
    unknown = [name for name in names if name not in numbers]
    if unknown:
        raise fault(
            table, line, f"the label {unknown[0]!r} is not in {CLASSES}", code="data/unknown-class"
        )
    return tuple(sorted(numbers[name] for name in names))


def _sample(
    row: Mapping[str, str], table: Path, line: int, labels: tuple[int, ...], *, several: bool
) -> Sample:
    target = row.get("target") or None
    split = split_in(table, line, row["split"]) if row.get("split") else None
    image = path_in(table, line, row["path"])
    mask = path_in(table, line, row["mask"]) if row.get("mask") else None
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


def _probability(text: str, table: Path, line: int) -> float:
    try:
        value = -1.0 if "_" in text else float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise fault(
            table, line, f"the target {text!r} is no number from 0 to 1", code="data/bad-value"
        )
    return value

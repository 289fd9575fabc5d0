"""The loader `candidates=PATH`: crops around nodule candidates, as images with a table.

The layout is that of `labels.csv` with the columns file, label and split columns, and the images it
names. It fits crops of the LUNA16 candidates (Setio et al. 2017, "Validation, comparison, and
combination of algorithms for automatic detection of pulmonary nodules in computed tomography
images: the LUNA16 challenge", Medical Image Analysis 42), which come from LIDC-IDRI (Armato et al.
2011, Medical Physics 38).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from moekit import DataError, Dataset, DatasetSpec, ImageError, Sample, Skipped
from moekit.data import check_file, complete_splits, parse_source, unlisted_notes
from moekit_medical.loaders.facts import facts_of_rows, subtypes_of_rows, unread
from moekit_medical.loaders.labels import (
    CLASSES,
    TABLE,
    Row,
    Table,
    fault,
    file_in,
    group_columns,
    join_groups,
    read_labels,
    split_of,
    split_problem,
)
from moekit_medical.loaders.volumes import known_split
from moekit_medical.privacy import token

SPLIT_COLUMNS = ("block_split", "split")
GROUP_COLUMNS = ("patient", "series", "scan")
_README = "LUNA16 nodule-candidate crops"
_LEAKING = "repo_split"


def load_candidates(path: Path | None, seed: int) -> Dataset:
    """Reads the crops that `labels.csv` names.

    Splits come from the column block_split, else split, else the one named by
    `PATH?split=COLUMN`; without such a column the seed splits by group. Rows of another split than
    train, val and test are skipped. Ids are `TOKEN/LINE`: the token of the file's name and the
    line of the table, so that no output repeats a file's name.

    Args:
        path: Folder, with options or without.
        seed: Of the split, if the table has none.

    Raises:
        DataError: The table cannot be used, or a patient, series, scan or image lies in two splits.
    """
    folder, options = parse_source(path, known=("split",))
    table = read_labels(folder, needed=("file",))
    column = _split_column(table, options.get("split"))
    samples, skipped = _read_rows(table, folder, column)
    is_luna16 = _is_luna16(folder)
    dataset = Dataset(
        name=f"candidates {table.name}",
        samples=tuple(samples),
        classes=CLASSES,
        licence="CC-BY-3.0" if is_luna16 else "unknown",
        source=(
            "LUNA16 candidates of LIDC-IDRI (Setio et al. 2017; Armato et al. 2011)"
            if is_luna16
            else f"a table of {len(table.rows)} candidates"
        ),
        skipped=tuple(skipped),
        notes=(
            *unread(table, "file", column or "", *GROUP_COLUMNS),
            *unlisted_notes((file_in(folder, row, "file") for row in table.rows), named=False),
        ),
    )
    leak = "; it leaks: crops of one scan lie in several splits" if is_luna16 else ""
    note = f"column {column}, as given{leak if column == _LEAKING else ''}"
    return complete_splits(dataset, seed=seed, note=note)


def write_example(folder: Path) -> Path:
    """Writes 24 small crops of 12 patients."""
    generator = np.random.default_rng(0)
    (folder / "images").mkdir()
    lines = ["file,label,patient,split\n"]
    for number in range(24):
        split = ("train", "train", "val", "test")[number // 2 % 4]
        name = f"images/{number:02}.png"
        pixels = generator.integers(0, 120, (32, 32), dtype=np.uint8)
        pixels[12:20, 12:20] += np.uint8(100 * (number % 2))
        Image.fromarray(pixels).save(folder / name)
        lines.append(f"{name},{number % 2},p{number // 2:02},{split}\n")
    (folder / TABLE).write_text("".join(lines), encoding="utf-8")
    return folder


CANDIDATES = DatasetSpec(
    name="candidates",
    load=load_candidates,
    summary="image crops of nodule candidates, with a CSV of file,label and splits (as LUNA16)",
    takes_path="required",
    licence="yours",
    example=write_example,
)


def _split_column(table: Table, wanted: str | None) -> str | None:
    if wanted is None:
        return next((name for name in SPLIT_COLUMNS if name in table.columns), None)
    if wanted.lower() not in table.columns:
        present = [name for name in table.columns if "split" in name]
        raise DataError(
            "the table has no such column",
            whose="the option split",
            fix=f"split columns of this table: {', '.join(present) or 'none'}",
            code="data/bad-option",
        )
    return wanted.lower()


def _read_rows(
    table: Table, folder: Path, column: str | None
) -> tuple[list[Sample], list[Skipped]]:
    columns = group_columns(table, GROUP_COLUMNS)
    groups = join_groups(
        (row.line, [(name, row.cells[name]) for name in columns]) for row in table.rows
    )
    facts = facts_of_rows(table, scan_columns=("scan", "series"))
    subtypes = subtypes_of_rows(table)
    lines: dict[Path, int] = {}
    samples: list[Sample] = []
    skipped: list[Skipped] = []
    for row in table.rows:
        image = file_in(folder, row, "file")
        first = lines.setdefault(image, row.line)
        if first != row.line:
            raise fault(row.line, f"its file is that of line {first} too", code="data/duplicate-id")
        name = _id(row, table)
        reason = split_problem(row, column) or _file_problem(image)
        if reason is not None:
            skipped.append(
                Skipped(
                    id=name,
                    reason=reason,
                    label=row.label,
                    split=known_split(row, column),
                    facts=facts[row.line],
                )
            )
            continue
        samples.append(
            Sample(
                id=name,
                path=image,
                label=row.label,
                group=groups.get(row.line),
                subtype=subtypes.get(row.line),
                split=split_of(row, column),
                facts=facts[row.line],
            )
        )
    return samples, skipped


def _id(row: Row, table: Table) -> str:
    return f"{token(row.cells['file'], salt=table.salt)}/{row.line}"


def _file_problem(path: Path) -> str | None:
    try:
        check_file(path)
    except ImageError as error:
        return error.what
    return None


def _is_luna16(folder: Path) -> bool:
    """Whether the README is that of the LUNA16 crops, whose repo_split leaks by its own words."""
    readme = folder / "README.md"
    try:
        if not readme.is_file():
            return False
        with readme.open("rb") as file:
            return _README.encode() in file.read(4096)
    except OSError:
        return False

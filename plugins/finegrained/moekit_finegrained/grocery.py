"""The loader `grocery=FOLDER`: photos of groceries in shops, 81 classes or 43 coarse ones.

Klasson, Zhang and Kjellstrom 2019, "A hierarchical grocery store image dataset with visual and
semantic labels", WACV. `index.csv` has the columns file, class_id, coarse_id and split;
`classes.csv` has class_id, class_name, coarse_id and coarse_name; the photos lie in `images`.
`FOLDER?level=coarse` takes the coarse classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from moekit import DataError, Dataset, DatasetSpec, ImageError, Sample, Skipped
from moekit.builtin.loaders import FINISH_OPTIONS, finish_dataset, path_in, read_rows
from moekit.data import SPLITS, check_file, parse_source, whole_number

LICENCE = "MIT"
_LEVELS = {"fine": "class", "coarse": "coarse"}
_COLUMNS = ("file", "class_id", "coarse_id", "split")


def load_grocery(path: Path | None, seed: int) -> Dataset:
    """Reads the photos with their splits; the other level's class is the subtype.

    Args:
        path: The folder; `?level=coarse`, `?shots=K` and `?unseen=NAME,NAME` may follow.
        seed: Of the shots, and of splits that the set lacks.

    Raises:
        DataError: A table is missing or wrong, or the splits cannot be used.
    """
    folder, options = parse_source(path, known=(*FINISH_OPTIONS, "level"))
    level = options.get("level", "fine")
    if level not in _LEVELS:
        raise DataError(
            f"there is no level {level!r}",
            whose="the option 'level'",
            fix="write fine or coarse",
            code="data/bad-option",
        )
    own, other = (_LEVELS[name] for name in (level, "coarse" if level == "fine" else "fine"))
    names = _names(folder / "classes.csv", own), _names(folder / "classes.csv", other)
    samples: list[Sample] = []
    skipped: list[Skipped] = []
    table = folder / "index.csv"
    for line, row in read_rows(table, needed=_COLUMNS, known=_COLUMNS):
        if row["split"] not in SPLITS:
            raise _fault(
                table,
                line,
                f"the split {row['split']!r} is none of {', '.join(SPLITS)}",
                code="data/unknown-split",
            )
        sample = Sample(
            id=row["file"],
            path=folder / "images" / path_in(table, line, row["file"]).relative_to(folder),
            label=_number(row[f"{own}_id"], names[0], table, line),
            subtype=names[1][_number(row[f"{other}_id"], names[1], table, line)]
            if level == "fine"
            else None,
            split=row["split"],
        )
        try:
            check_file(sample.path)
        except ImageError as error:
            skipped.append(Skipped.of(sample, error.what))
        else:
            samples.append(sample)
    dataset = Dataset(
        name=f"grocery {level}",
        samples=tuple(samples),
        classes=names[0],
        licence=LICENCE,
        source="Grocery Store Dataset, Klasson et al. 2019",
        caution="photos of one class were often taken one after the other in one shop",
        skipped=tuple(skipped),
        has_negative=False,
    )
    return finish_dataset(
        dataset, options, seed=seed, note=f"as the authors gave them, level {level}"
    )


def _names(table: Path, level: str) -> tuple[str, ...]:
    """Names by number, which must count from 0 without a gap."""
    columns = (f"{level}_id", f"{level}_name")
    found: dict[str, str] = {}
    for line, row in read_rows(table, needed=columns, known=columns):
        number, name = (row[column] for column in columns)
        if found.setdefault(number, name) != name:
            raise _fault(
                table,
                line,
                f"{number} is called {found[number]!r} and {name!r}",
                code="data/contradiction",
            )
    if set(found) != {str(number) for number in range(len(found))}:
        raise DataError(
            f"the numbers of {columns[0]} do not count from 0 without a gap",
            whose=str(table),
            fix="copy the table again from its source",
            code="data/class-list",
        )
    names = tuple(found[str(number)] for number in range(len(found)))
    if len(set(names)) < len(names):
        raise DataError(
            "two classes have one name",
            whose=str(table),
            fix="give each class its own name",
            code="data/class-list",
        )
    return names


def _number(text: str, names: tuple[str, ...], table: Path, line: int) -> int:
    number = whole_number(text, most=len(names) - 1)
    if number is None:
        raise _fault(table, line, f"there is no class {text[:60]!r}", code="data/unknown-class")
    return number


def _fault(table: Path, line: int, what: str, *, code: str) -> DataError:
    return DataError(
        f"the line cannot be used: {what}",
        whose=f"{table.name}, line {line}",
        fix="correct that line, or copy the table again from its source",
        code=code,
    )


def write_example(folder: Path) -> Path:
    """Writes a set of four fine and two coarse classes."""
    generator = np.random.default_rng(0)
    classes = ["class_id,class_name,coarse_id,coarse_name"]
    index: list[str] = [",".join(_COLUMNS)]
    (folder / "images").mkdir()
    for number in range(4):
        coarse = number // 2
        classes.append(f"{number},kind {number},{coarse},sort {coarse}")
        for split, count in _counts().items():
            for place in range(count):
                pixels = generator.integers(0, 100, (32, 32, 3), dtype=np.uint8)
                pixels += np.uint8(40 * number)
                name = f"{split}_{number}_{place}.png"
                Image.fromarray(pixels).save(folder / "images" / name)
                index.append(f"{name},{number},{coarse},{split}")
    (folder / "classes.csv").write_text("\n".join(classes) + "\n", encoding="utf-8")
    (folder / "index.csv").write_text("\n".join(index) + "\n", encoding="utf-8")
    return folder


def _counts() -> Mapping[str, int]:
    return {"train": 4, "val": 2, "test": 2}


GROCERY = DatasetSpec(
    name="grocery",
    load=load_grocery,
    summary="photos of groceries, 81 classes, or 43 with ?level=coarse (Klasson et al. 2019)",
    takes_path="required",
    licence=LICENCE,
    example=write_example,
)

"""The loader `cifar100=FOLDER`: CIFAR-100 as sheets, one lossless WebP a class and split.

Krizhevsky 2009, "Learning multiple layers of features from tiny images". `classes.txt` names the
classes in their order; `SPLIT/NN_NAME.webp` holds the pictures of class NN one below the other.

Shapes: M pictures of a sheet, 32 rows and columns each.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from moekit import DataError, Dataset, DatasetSpec, Sample
from moekit.builtin.loaders import FINISH_OPTIONS, KEY_DIGITS, finish_dataset, stored_pictures
from moekit.data import SPLITS, parse_source, read_image
from moekit.files import read_text, sha256

LICENCE = "released for research, no licence stated"
_SIDE = 32


def load_cifar100(path: Path | None, seed: int) -> Dataset:
    """Reads the sheets; their pictures are written once as PNG files below the cache.

    Ids are `SPLIT/NN_NAME/NUMBER`, the number counting from the top of the sheet.

    Args:
        path: The folder; `?shots=K` and `?unseen=NAME,NAME` may follow.
        seed: Of the shots, and of splits that the set lacks.

    Raises:
        DataError: The list of classes or a sheet is missing, or a sheet is of another size.
        ImageError: A sheet is damaged.
        StorageError: The cache cannot be written.
    """
    folder, options = parse_source(path, known=FINISH_OPTIONS)
    classes = _classes(folder)
    splits = [name for name in SPLITS if (folder / name).is_dir()]
    sheets = {
        (split, label): folder / split / f"{label:02}_{name}.webp"
        for split in splits
        for label, name in enumerate(classes)
    }
    # False for a name that no file can have, for which Path.is_file raises.
    sheets = {key: one for key, one in sheets.items() if os.path.isfile(one)}  # noqa: PTH113
    if not sheets:
        raise DataError(
            "there is no sheet SPLIT/NN_NAME.webp",
            whose=folder.name,
            fix="name the folder that holds classes.txt and the folders train and val",
            code="data/wrong-layout",
        )
    store = stored_pictures("cifar100", _key(folder, sheets), _pictures(sheets))
    counts = {key: _height(sheet) for key, sheet in sheets.items()}
    dataset = Dataset(
        name="cifar100",
        samples=tuple(_samples(sheets, counts, store)),
        classes=classes,
        licence=LICENCE,
        source="CIFAR-100, Krizhevsky 2009",
        caution="pictures of 32 pixels, enlarged; train and test hold some near-duplicates",
        has_negative=False,
    )
    return finish_dataset(dataset, options, seed=seed)


Sheets = dict[tuple[str, int], Path]


def _classes(folder: Path) -> tuple[str, ...]:
    table = folder / "classes.txt"
    try:
        names = tuple(read_text(table).split())
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            "the list of classes cannot be read",
            whose=table.name,
            fix="name the folder that holds classes.txt and the folders train and val",
            code="data/class-list",
        ) from error
    if len(names) < 2 or len(set(names)) < len(names):
        raise DataError(
            "the list holds fewer than two classes, or one of them twice",
            whose=table.name,
            fix="copy it again from its source",
            code="data/class-list",
        )
    return names


def _key(folder: Path, sheets: Sheets) -> str:
    """A hash of all sheets and of their names."""
    text = "\n".join(
        f"{sheet.relative_to(folder).as_posix()} {sha256(sheet)}" for sheet in sheets.values()
    )
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_DIGITS]


def _height(sheet: Path) -> int:
    """How many pictures a sheet holds, from its header."""
    with Image.open(sheet, formats=["WEBP"]) as image:
        return image.height // _SIDE


def _pictures(sheets: Sheets) -> Iterator[tuple[str, np.ndarray]]:
    for (split, label), sheet in sheets.items():
        pixels = np.asarray(read_image(sheet))
        if pixels.shape[1] != _SIDE or pixels.shape[0] % _SIDE or not pixels.shape[0]:
            raise DataError(
                f"the sheet has {pixels.shape[1]} x {pixels.shape[0]} pixels",
                whose=f"{split}/{sheet.name}",
                fix=f"its pictures must be {_SIDE} x {_SIDE} pixels, one below the other",
                code="data/wrong-layout",
            )
        for number, picture in enumerate(pixels.reshape(-1, _SIDE, _SIDE, 3)):
            yield _file(split, label, number), picture


def _file(split: str, label: int, number: int) -> str:
    return f"{split}-{label:02}-{number:04}.png"


def _samples(sheets: Sheets, counts: dict[tuple[str, int], int], store: Path) -> Iterator[Sample]:
    for (split, label), sheet in sheets.items():
        for number in range(counts[split, label]):
            yield Sample(
                id=f"{split}/{sheet.stem}/{number:04}",
                path=store / _file(split, label, number),
                label=label,
                split=split,
            )


def write_example(folder: Path) -> Path:
    """Writes sheets of three classes, eight, four and four pictures each."""
    generator = np.random.default_rng(0)
    names = ("apple", "bear", "clock")
    (folder / "classes.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    for split, count in {"train": 8, "val": 4, "test": 4}.items():
        (folder / split).mkdir()
        for label, name in enumerate(names):
            pixels = generator.integers(0, 120, (count * _SIDE, _SIDE, 3), dtype=np.uint8)
            pixels[..., label] += 120
            sheet = folder / split / f"{label:02}_{name}.webp"
            Image.fromarray(pixels).save(sheet, lossless=True)
    return folder


CIFAR100 = DatasetSpec(
    name="cifar100",
    load=load_cifar100,
    summary="CIFAR-100 as lossless WebP sheets, SPLIT/NN_NAME.webp (Krizhevsky 2009)",
    takes_path="required",
    licence=LICENCE,
    example=write_example,
)

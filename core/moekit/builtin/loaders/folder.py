"""The neutral loader `folder=PATH`: class sub-folders, or a label table; any number of classes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from moekit.builtin.loaders.finish import FINISH_OPTIONS, finish_dataset
from moekit.builtin.loaders.labels import order_classes
from moekit.builtin.loaders.table import read_table
from moekit.contract.datasets import DatasetSpec
from moekit.data.images import find_images, relative_id
from moekit.data.options import parse_source
from moekit.data.plain_files import check_file
from moekit.data.samples import SPLITS, Dataset, Sample, Skipped
from moekit.errors import DataError, ImageError

TABLE = "labels.csv"


def load_folder(path: Path | None, seed: int) -> Dataset:
    """Reads labelled images and splits them, unless the data bring their own splits.

    Three layouts are read: `PATH/CLASS/IMAGE`; `PATH/SPLIT/CLASS/IMAGE` with the splits train, test
    and, optionally, val; and a table, `PATH/labels.csv` or PATH itself (see `read_table`). Of two
    classes the one with a negative name comes first; of more they are sorted. A set without any
    positive image becomes train and val only.

    Args:
        path: Folder or table; `?shots=K` and `?unseen=NAME,NAME` may follow (see `finish`).
        seed: Of the split.

    Raises:
        DataError: There is nothing to read, there is one class only, or the splits leak.
    """
    options: Mapping[str, str] = {}
    if path is not None and "?" in path.name:
        path, options = parse_source(path, known=FINISH_OPTIONS)
    if path is None or not path.exists():
        raise DataError(
            "there is no such folder or table",
            whose=str(path),
            fix="name a folder with one sub-folder a class, or a CSV with the columns path,label",
            code="data/not-found",
        )
    if path.is_file():
        dataset = read_table(path)
    elif (path / TABLE).is_file():
        dataset = read_table(path / TABLE)
    else:
        dataset = _read_folders(path)
    return finish_dataset(dataset, options, seed=seed)


def write_example(folder: Path) -> Path:
    """Writes 24 small images of two classes, as conformance checks need them."""
    generator = np.random.default_rng(0)
    for name, offset in {"good": 0, "odd": 100}.items():
        (folder / name).mkdir()
        for number in range(12):
            pixels = offset + generator.integers(0, 100, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number:02}.png")
    return folder


FOLDER = DatasetSpec(
    name="folder",
    load=load_folder,
    summary="your own images: class sub-folders, or a CSV of path,label[,split,group,subtype,mask]",
    takes_path="required",
    licence="yours",
    example=write_example,
)


def _read_folders(folder: Path) -> Dataset:
    images = find_images(folder)
    split_names = [name for name in SPLITS if (folder / name).is_dir()]
    depth = 3 if split_names else 2
    parts = {image: image.relative_to(folder).parts for image in images}
    placed = {image: names for image, names in parts.items() if len(names) >= depth}
    if not placed:
        raise DataError(
            "there is no image in a class sub-folder",
            whose=str(folder),
            fix="put the images into PATH/good and PATH/OTHER, or add a labels.csv",
            code="data/no-image",
        )
    found = {
        names[depth - 2] for names in placed.values() if not split_names or names[0] in split_names
    }
    classes, has_negative = order_classes(found, whose=str(folder))
    samples: list[Sample] = []
    skipped = [
        Skipped(id=relative_id(image, folder), reason="it lies outside the class sub-folders")
        for image in images
        if image not in placed
    ]
    for image, names in placed.items():
        name = relative_id(image, folder)
        if split_names and names[0] not in split_names:
            skipped.append(Skipped(id=name, reason="it lies outside the splits"))
            continue
        try:
            check_file(image)
        except ImageError as error:
            skipped.append(Skipped(id=name, reason=error.what))
            continue
        samples.append(
            Sample(
                id=name,
                path=image,
                label=classes.index(names[depth - 2]),
                split=names[0] if split_names else None,
            )
        )
    return Dataset(
        name=folder.resolve().name,
        samples=tuple(samples),
        classes=classes,
        source=f"a folder of {len(images)} images",
        skipped=tuple(skipped),
        has_negative=has_negative,
    )

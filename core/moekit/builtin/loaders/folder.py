"""The neutral loader `folder=PATH`: class sub-folders, or a label table; any number of classes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from moekit.builtin.loaders.class_folders import Place, empty_notes, find_layout
from moekit.builtin.loaders.finish import FINISH_OPTIONS, finish_dataset
from moekit.builtin.loaders.labels import alike_notes, order_classes
from moekit.builtin.loaders.table import read_table
from moekit.contract.datasets import DatasetSpec
from moekit.data.checks import check_named
from moekit.data.images import relative_id
from moekit.data.options import is_there, parse_source
from moekit.data.plain_files import check_file
from moekit.data.samples import Dataset, Sample, Skipped
from moekit.data.survey import none_usable, survey_folder
from moekit.data.walk import refuse_folder
from moekit.errors import DataError, ImageError

TABLE = "labels.csv"


def load_folder(path: Path | None, seed: int) -> Dataset:
    """Reads labelled images and splits them, unless the data bring their own splits.

    Three layouts are read: `PATH/CLASS/IMAGE`; `PATH/SPLIT/CLASS/IMAGE` with the splits train, test
    and, optionally, val (or what `split_name` takes for them); and a table, `PATH/labels.csv` or
    PATH itself (see `read_table`). A folder called as a split in which images lie directly is a
    class. Of two classes the one with a negative name comes first; of more they are sorted. A set
    without any
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
    if path is None or not is_there(path):
        raise DataError(
            "there is no such folder or table",
            whose=str(path),
            fix="name a folder with one sub-folder a class, or a CSV with the columns path,label",
            code="data/not-found",
        )
    table = path if path.is_file() else _table_in(path)
    dataset = _read_folders(path) if table is None else read_table(table)
    return finish_dataset(dataset, options, seed=seed)


def _table_in(folder: Path) -> Path | None:
    """The table of a folder, in upper or lower case, whatever is wrong with it."""
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208
    except OSError as error:
        refuse_folder(error)
    found = [name for name in names if name.lower() == TABLE]
    if not found:
        return None
    if len(found) > 1 and TABLE not in found:
        raise DataError(
            f"{found[0]} and {found[1]} are two tables",
            whose=str(folder),
            fix=f"leave one of them, and call it {TABLE}",
            code="data/contradiction",
        )
    return folder / (TABLE if TABLE in found else found[0])


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
    survey = survey_folder(folder)
    layout = find_layout(survey)
    notes = [
        *layout.notes,
        *survey.check_linked(layout.place, whose=str(folder)),
        *empty_notes(survey, layout),
    ]
    placed: list[tuple[Path, Place]] = []
    skipped = list(survey.skipped)
    for image in survey.images:
        name = relative_id(image, folder)
        place = layout.place_of(PurePosixPath(name))
        if isinstance(place, str):
            skipped.append(Skipped(id=name, reason=place))
        else:
            placed.append((image, place))
    if not placed:
        raise DataError(
            f"there is no image in a class sub-folder{layout.in_words}; {none_usable(skipped)}",
            whose=str(folder),
            fix="put the images into PATH/good and PATH/OTHER, or add a labels.csv",
            code="data/no-image",
        )
    found = {place.name for _, place in placed}
    classes, has_negative = order_classes(found, whose=str(folder), told=layout.in_words)
    numbers = {name: number for number, name in enumerate(classes)}
    samples: list[Sample] = []
    for image, place in placed:
        name = relative_id(image, folder)
        try:
            check_file(image)
        except ImageError as error:
            skipped.append(Skipped(id=name, reason=error.what))
            continue
        samples.append(Sample(id=name, path=image, label=numbers[place.name], split=place.split))
    dataset = Dataset(
        name=folder.resolve().name,
        samples=tuple(samples),
        classes=classes,
        source=f"a folder of {len(survey.images)} images",
        skipped=tuple(sorted(skipped, key=lambda skip: skip.id)),
        has_negative=has_negative,
        notes=(*notes, *alike_notes(classes)),
    )
    check_named(dataset, {numbers[name] for name in found})
    return dataset

"""The loader `npz=FILE`: pictures and labels as arrays, in the way of CIFAR.

Two layouts are read. Either `x_train` and `y_train`, with `x_val`, `y_val`, `x_test` and `y_test`
as far as they are there; or `images` and `labels`, with or without `split`. `class_names` may
name the classes in the order of the labels.

Shapes: N pictures, H and W their rows and columns, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from moekit.builtin.loaders.finish import FINISH_OPTIONS, finish_dataset
from moekit.builtin.loaders.labels import is_negative_name
from moekit.builtin.loaders.pictures import KEY_DIGITS, stored_pictures
from moekit.contract.datasets import DatasetSpec
from moekit.data.arrays import Arrays
from moekit.data.options import parse_source
from moekit.data.samples import SPLITS, Dataset, Sample
from moekit.errors import DataError
from moekit.files import sha256

_FORMAT = "1"
"""Version of what is written into the cache."""
_MOST_CLASSES = 100_000
_LAYOUTS = "x_train, y_train[, x_val, y_val, x_test, y_test], or images, labels[, split]"


def load_npz(path: Path | None, seed: int) -> Dataset:
    """Reads pictures and labels; the pictures are written once as PNG files below the cache.

    Ids are `SPLIT/NUMBER`, or `NUMBER` if the file brings no splits; the number is the index in
    the array.

    Args:
        path: The file; `?shots=K` and `?unseen=NAME,NAME` may follow (see `finish`).
        seed: Of the split.

    Raises:
        DataError: The file is damaged, holds other arrays, or its labels do not fit.
        StorageError: The cache cannot be written.
    """
    file, options = parse_source(path, known=FINISH_OPTIONS)
    if not file.is_file():
        raise DataError(
            "this is not a file", whose=file.name, fix="name an npz file", code="data/not-a-file"
        )
    try:
        digest = sha256(file)
    except OSError as error:
        raise DataError(
            f"the file cannot be read ({error.strerror or error})",
            whose=file.name,
            fix="check its permissions and the disk",
            code="data/unreadable",
        ) from error
    with Arrays(file) as arrays:
        labels = _labels(arrays)
        classes = _class_names(arrays, labels)
        key = f"{digest[:KEY_DIGITS]}-{_FORMAT}"
        folder = stored_pictures("npz", key, _pictures(arrays, labels))
    dataset = Dataset(
        name=file.stem,
        samples=tuple(_samples(labels, folder)),
        classes=classes,
        source=f"an npz file, SHA-256 {digest}",
        has_negative=len(classes) == 2 and is_negative_name(classes[0]),
    )
    return finish_dataset(dataset, options, seed=seed)


def write_example(folder: Path) -> Path:
    """Writes a file of 36 small pictures of three classes in the layout of CIFAR."""
    generator = np.random.default_rng(0)
    content = {"class_names": np.array(["blue", "green", "red"])}
    for name, count in {"train": 18, "val": 9, "test": 9}.items():
        labels = np.arange(count) % 3
        pictures = generator.integers(0, 120, (count, 32, 32, 3), dtype=np.uint8)
        pictures[np.arange(count), :, :, labels] += 120
        content |= {f"x_{name}": pictures, f"y_{name}": labels}
    np.savez(folder / "example.npz", **content)  # type: ignore[arg-type]
    return folder / "example.npz"


NPZ = DatasetSpec(
    name="npz",
    load=load_npz,
    summary="pictures and labels as arrays of an npz file: x_train, y_train, ... or images, labels",
    takes_path="required",
    licence="yours",
    example=write_example,
)


class _Part:
    """The labels of one array of pictures, and the split of each picture."""

    def __init__(self, array: str, labels_N: np.ndarray, splits: tuple[str, ...] | None) -> None:
        self.array, self.labels_N, self.splits = array, labels_N, splits


def _labels(arrays: Arrays) -> Mapping[str, _Part]:
    """The parts of the file by the beginning of their ids."""
    given = [name for name in SPLITS if f"x_{name}" in arrays.names]
    if given:
        return {
            f"{name}/": _Part(f"x_{name}", labels_N, (name,) * len(labels_N))
            for name in given
            for labels_N in [_read_labels(arrays, f"y_{name}")]
        }
    if not {"images", "labels"} <= set(arrays.names):
        found = ", ".join(arrays.names[:8]) or "nothing"
        raise arrays.refused(
            f"the file holds {found}, not {_LAYOUTS}",
            fix="name the arrays as listed",
            code="data/missing-array",
        )
    labels_N = _read_labels(arrays, "labels")
    return {"": _Part("images", labels_N, _read_splits(arrays, len(labels_N)))}


def _read_labels(arrays: Arrays, name: str) -> np.ndarray:
    labels = arrays.read(name)
    one_each = labels.ndim in (1, 2) and labels.size == len(labels)
    if labels.dtype.kind not in "bui" or not one_each:
        raise arrays.refused(
            f"{name} holds {labels.dtype} of the shape {labels.shape}, not one integer a picture",
            fix="give an integer array (n,), each value the index of a class",
            code="data/array-type",
        )
    flat: np.ndarray = labels.reshape(-1).astype(np.int64)
    if flat.size and flat.min() < 0:
        raise arrays.refused(
            f"{name} holds {flat.min()}", fix="count the classes from 0", code="data/unknown-class"
        )
    return flat


def _read_splits(arrays: Arrays, count: int) -> tuple[str, ...] | None:
    if "split" not in arrays.names:
        return None
    splits = arrays.read("split")
    if splits.dtype.kind != "U" or splits.shape != (count,):
        raise arrays.refused(
            f"split is {splits.dtype} of the shape {splits.shape}, not one name a picture",
            fix=f"give an array of strings ({count},), each one of {', '.join(SPLITS)}",
            code="data/array-type",
        )
    unknown = np.flatnonzero(~np.isin(splits, SPLITS))
    if unknown.size:
        raise arrays.refused(
            f"the split {str(splits[unknown[0]])!r} of picture {unknown[0]} is none of "
            f"{', '.join(SPLITS)}",
            fix="correct the array split",
            code="data/unknown-split",
        )
    return tuple(splits.tolist())


def _class_names(arrays: Arrays, parts: Mapping[str, _Part]) -> tuple[str, ...]:
    highest = max((int(part.labels_N.max(initial=-1)) for part in parts.values()), default=-1)
    if highest >= _MOST_CLASSES:
        raise arrays.refused(
            f"a label is {highest}, which makes more than {_MOST_CLASSES:,} classes",
            fix="count the classes from 0 without a gap",
            code="data/class-count",
        )
    if "class_names" not in arrays.names:
        return tuple(str(label) for label in range(highest + 1))
    names = arrays.read("class_names")
    if names.dtype.kind != "U" or names.ndim != 1 or len(set(names.tolist())) < len(names):
        raise arrays.refused(
            "class_names is no list of different strings",
            fix="give an array of strings (C,)",
            code="data/array-type",
        )
    if highest >= len(names):
        raise arrays.refused(
            f"a label is {highest}, but class_names holds {len(names)} names",
            fix="name every class, in the order of the labels",
            code="data/unknown-class",
        )
    return tuple(names.tolist())


def _pictures(arrays: Arrays, parts: Mapping[str, _Part]) -> Iterator[tuple[str, np.ndarray]]:
    for start, part in parts.items():
        pixels = arrays.read(part.array)
        colour = pixels.ndim == 4 and pixels.shape[3] == 3
        if pixels.dtype != np.uint8 or not (colour or pixels.ndim == 3) or 0 in pixels.shape[1:]:
            raise arrays.refused(
                f"{part.array} holds {pixels.dtype} of the shape {pixels.shape}",
                fix="give pictures as uint8 (n, h, w, 3), or (n, h, w) for grey ones",
                code="data/array-type",
            )
        if len(pixels) != len(part.labels_N):
            raise arrays.refused(
                f"{part.array} holds {len(pixels)} pictures, but there are "
                f"{len(part.labels_N)} labels",
                fix="give one label a picture",
                code="data/array-shape",
            )
        for number, picture in enumerate(pixels):
            yield _file(start, number), picture


def _file(start: str, number: int) -> str:
    return f"{start.replace('/', '-')}{number:06}.png"


def _samples(parts: Mapping[str, _Part], folder: Path) -> Iterator[Sample]:
    for start, part in parts.items():
        for number, label in enumerate(part.labels_N.tolist()):
            yield Sample(
                id=f"{start}{number:06}",
                path=folder / _file(start, number),
                label=label,
                split=None if part.splits is None else part.splits[number],
            )

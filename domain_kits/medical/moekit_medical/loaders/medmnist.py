"""The loader `medmnist=FILE.npz`: the image sets of MedMNIST v2 with one label an image.

Yang et al. 2023, "MedMNIST v2 - A large-scale lightweight benchmark for 2D and 3D biomedical image
classification", Scientific Data 10:41. The splits are those of the file.

The file does not say what its labels mean. Of a binary set the positive class is label 1, or the
one named by `FILE.npz?positive=0`: of breastmnist that is 0 (malignant), of pneumoniamnist 1
(pneumonia). Sets of more labels are for the task `classify`.
"""

from __future__ import annotations

import collections
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from moekit import DataError, Dataset, DatasetSpec, Sample
from moekit.data import SPLITS, Arrays, check_classes, check_splits, parse_source
from moekit.files import sha256
from moekit_medical.loaders.cache import KEY_DIGITS, Cached, Writer, cached
from moekit_medical.loaders.npz import images_of, labels_of, open_arrays

LICENCE = "CC-BY-4.0 for most sets of MedMNIST v2; see the set's own page"


def load_medmnist(path: Path | None, seed: int) -> Dataset:  # noqa: ARG001
    """Reads a file of MedMNIST v2; its images are written once as PNG files below the cache.

    Ids are `SPLIT/NUMBER`, the number being the index in the file's arrays.

    Args:
        path: The file, with options or without.
        seed: Not used: the file brings its splits.

    Raises:
        DataError: The file is not a sound set, or an image in the cache was damaged.
        StorageError: The cache cannot be written.
    """
    file, options = parse_source(path, known=("positive",))
    positive = options.get("positive")
    if positive not in (None, "0", "1"):
        raise DataError(
            "the positive label is neither 0 nor 1",
            whose="the option positive",
            fix="write it as in ?positive=0",
            code="data/bad-option",
        )
    if not file.is_file():
        raise DataError(
            "this is not a file",
            whose="the path given",
            fix="name an npz file of MedMNIST v2",
            code="data/not-a-file",
        )
    digest = _hash(file)
    with open_arrays(file) as arrays:
        labels = {split: labels_of(arrays, split) for split in SPLITS}
        images = cached(
            "medmnist", digest[:KEY_DIGITS], lambda writer: _write_images(arrays, writer)
        )
    order = _order(labels, positive)
    dataset = Dataset(
        name=f"medmnist {digest[:12]}",
        samples=tuple(_samples(labels, images, order)),
        classes=tuple(f"label {label}" for label in order),
        licence=LICENCE,
        source=f"a file of MedMNIST v2 (Yang et al. 2023), SHA-256 {digest}",
        split_note=f"as given by the file{_tell_twins(images)}",
        positive=f"label {order[1]}" if len(order) == 2 else "",
    )
    check_classes(dataset)
    check_splits(dataset)
    return dataset


def write_example(folder: Path) -> Path:
    """Writes a file of 32 small images in the layout of MedMNIST."""
    generator = np.random.default_rng(0)
    content = {}
    for split, count in {"train": 16, "val": 8, "test": 8}.items():
        labels = (np.arange(count) % 2).astype(np.uint8)
        images = generator.integers(0, 120, (count, 28, 28), dtype=np.uint8)
        images[:, 8:20, 8:20] += labels[:, None, None] * np.uint8(100)
        content[f"{split}_images"], content[f"{split}_labels"] = images, labels[:, None]
    with zipfile.ZipFile(folder / "example.npz", "w") as archive:
        for name, array in content.items():
            memory = io.BytesIO()
            np.lib.format.write_array(memory, array, allow_pickle=False)
            archive.writestr(f"{name}.npy", memory.getvalue())
    return folder / "example.npz"


MEDMNIST = DatasetSpec(
    name="medmnist",
    load=load_medmnist,
    summary="an image set of MedMNIST v2, FILE.npz (breastmnist: add ?positive=0)",
    takes_path="required",
    licence=LICENCE,
    example=write_example,
)


def _hash(file: Path) -> str:
    try:
        return sha256(file)
    except OSError as error:
        raise DataError(
            f"the file cannot be read ({error.strerror or type(error).__name__})",
            whose="the npz file",
            fix="check its permissions and the disk",
            code="data/unreadable",
        ) from None


def _image_name(split: str, number: int) -> str:
    return f"{split}/{number:06}.png"


def _write_images(arrays: Arrays, writer: Writer) -> None:
    for split in SPLITS:
        for number, pixels in enumerate(images_of(arrays, split)):
            writer.image(_image_name(split, number), pixels)


def _order(labels: Mapping[str, np.ndarray], positive: str | None) -> tuple[int, ...]:
    """The labels in the order of the classes; of two the negative one first."""
    count = max(2, *(int(part.max()) + 1 for part in labels.values()))
    if count > 2 and positive is not None:
        raise DataError(
            f"the set has {count} labels, so none of them is the positive one",
            whose="the option positive",
            fix="leave it out, and use --task classify",
            code="data/bad-option",
        )
    return (1, 0) if positive == "0" else tuple(range(count))


def _samples(
    labels: Mapping[str, np.ndarray], images: Cached, order: tuple[int, ...]
) -> list[Sample]:
    return [
        Sample(
            id=f"{split}/{number:06}",
            path=images.folder / _image_name(split, number),
            label=order.index(int(label)),
            split=split,
        )
        for split in SPLITS
        for number, label in enumerate(labels[split])
    ]


def _tell_twins(images: Cached) -> str:
    """How many images lie in two splits; the splits are kept as published all the same."""
    homes: dict[str, set[str]] = collections.defaultdict(set)
    for name, digest in images.images.items():
        homes[digest].add(name.partition("/")[0])
    twins = sum(len(splits) > 1 for splits in homes.values())
    return f"; {twins} images lie in more than one split" if twins else ""

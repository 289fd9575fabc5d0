"""Reads the arrays of a MedMNIST file that nobody vouches for.

What each array claims to be, its dtype, shape and bytes, is checked before any of its data is
unpacked.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from moekit import DataError
from moekit.data import SPLITS, ArrayHeader, Arrays

MAX_BYTES = 4 * 2**30
"""Most bytes that the arrays may unpack to, together."""

SIDES = (28, 4096)
"""Least and greatest height and width of an image, in pixels."""

MOST_LABEL = 255
"""The greatest label."""

_WHOSE = "the npz file"
_FIX = "download the file again from its source (MedMNIST v2)"
_PLAIN = "use a set of images with one label each, such as pneumoniamnist or bloodmnist"


@contextlib.contextmanager
def open_arrays(path: Path) -> Iterator[Arrays]:
    """Opens a file whose headers describe a set of images.

    Raises:
        DataError: It is not such a file.
    """
    with Arrays(path, whose=_WHOSE, fix=_FIX) as arrays:
        names = [f"{split}_{part}" for split in SPLITS for part in ("images", "labels")]
        headers = {name: arrays.header(name) for name in names}
        total = sum(header.size for header in headers.values())
        if total > MAX_BYTES:
            raise _refused(
                f"the arrays unpack to {total:,} bytes, more than {MAX_BYTES:,}",
                code="data/too-large",
            )
        for split in SPLITS:
            _check_split(split, headers)
        yield arrays


def images_of(arrays: Arrays, split: str) -> np.ndarray:
    """(N, H, W) or (N, H, W, 3) uint8.

    Raises:
        DataError: The data are damaged.
    """
    return arrays.read(f"{split}_images")


def labels_of(arrays: Arrays, split: str) -> np.ndarray:
    """(N,) int64 from 0 to `MOST_LABEL`.

    Raises:
        DataError: The data are damaged, or there are other values.
    """
    labels = arrays.read(f"{split}_labels").reshape(-1)
    if not ((labels >= 0) & (labels <= MOST_LABEL)).all():
        raise _refused(
            f"{split}_labels holds other labels than 0 to {MOST_LABEL}",
            _PLAIN,
            code="data/unknown-class",
        )
    return labels.astype(np.int64)


def _check_split(split: str, headers: Mapping[str, ArrayHeader]) -> None:
    images, labels = headers[f"{split}_images"], headers[f"{split}_labels"]
    if images.dtype != np.uint8:
        raise _refused(
            f"{split}_images holds {images.dtype} values, not uint8", code="data/array-type"
        )
    if labels.dtype.kind not in "bui":
        raise _refused(
            f"{split}_labels holds {labels.dtype} values, not integers", code="data/array-type"
        )
    if len(labels.shape) == 2 and labels.shape[1] != 1:
        raise _refused(
            f"{split}_labels has {labels.shape[1]} labels an image",
            _PLAIN,
            code="data/several-labels",
        )
    is_gray = len(images.shape) == 3
    is_rgb = len(images.shape) == 4 and images.shape[3] == 3
    low, high = SIDES
    if not (is_gray or is_rgb) or not all(low <= side <= high for side in images.shape[1:3]):
        shape = " x ".join(map(str, images.shape[:5]))
        raise _refused(
            f"{split}_images of {shape} are not (n, h, w) or (n, h, w, 3)",
            _PLAIN,
            code="data/array-shape",
        )
    if len(labels.shape) not in (1, 2) or labels.shape[0] != images.shape[0]:
        raise _refused(f"{split}_labels is not one label for each image", code="data/array-shape")
    if images.shape[0] == 0:
        raise _refused(f"the {split} split is empty", code="data/empty-split")


def _refused(what: str, fix: str = _FIX, *, code: str) -> DataError:
    return DataError(what, whose=_WHOSE, fix=fix, code=code)

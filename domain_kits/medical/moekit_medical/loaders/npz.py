"""Reads the arrays of a MedMNIST file that nobody vouches for.

An npz file is a zip archive of npy members (NumPy Enhancement Proposal 1). What a member claims to
be is read from its header and checked, dtype, shape and bytes, before any of its data is unpacked.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from moekit import DataError
from moekit.data import SPLITS

MAX_BYTES = 4 * 2**30
"""Most bytes that the arrays may unpack to, together."""

SIDES = (28, 4096)
"""Least and greatest height and width of an image, in pixels."""

MOST_LABEL = 255
"""The greatest label."""

_MAX_MEMBERS = 256
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_WHOSE = "the npz file"
_FIX = "download the file again from its source (MedMNIST v2)"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Member:
    """What the header of an array says.

    Attributes:
        shape: Of the array.
        dtype: Of its values.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]


class Arrays:
    """The images and labels of an open, checked file."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def images(self, split: str) -> np.ndarray:
        """(N, H, W) or (N, H, W, 3) uint8.

        Raises:
            DataError: The data are damaged.
        """
        return self._read(f"{split}_images")

    def labels(self, split: str) -> np.ndarray:
        """(N,) int64 from 0 to `MOST_LABEL`.

        Raises:
            DataError: The data are damaged, or there are other values.
        """
        labels = self._read(f"{split}_labels").reshape(-1)
        if not ((labels >= 0) & (labels <= MOST_LABEL)).all():
            raise _refused(
                f"{split}_labels holds other labels than 0 to {MOST_LABEL}",
                _PLAIN,
                code="data/unknown-class",
            )
        return labels.astype(np.int64)

    def _read(self, name: str) -> np.ndarray:
        try:
            with self._archive.open(f"{name}.npy") as file:
                array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
                if file.read(1):  # also makes zipfile compare the checksum
                    raise ValueError
        except Exception:  # parsers of damaged bytes raise nearly anything
            raise _refused(f"the data of {name} are damaged", code="data/damaged") from None
        return array


_PLAIN = "use a set of images with one label each, such as pneumoniamnist or bloodmnist"


@contextlib.contextmanager
def open_arrays(path: Path) -> Iterator[Arrays]:
    """Opens a file whose headers describe a set of images.

    Raises:
        DataError: It is not such a file.
    """
    try:
        archive = zipfile.ZipFile(path)
    except Exception:
        raise _refused(
            "the file is not an npz archive, or is cut off", code="data/damaged"
        ) from None
    with archive:
        members = _read_headers(archive)
        for split in SPLITS:
            _check_split(split, members)
        yield Arrays(archive)


def _read_headers(archive: zipfile.ZipFile) -> Mapping[str, Member]:
    wanted = [f"{split}_{part}" for split in SPLITS for part in ("images", "labels")]
    infos = archive.infolist()
    names = [info.filename for info in infos]
    if len(infos) > _MAX_MEMBERS:
        raise _refused(f"the archive holds more than {_MAX_MEMBERS} arrays", code="data/too-large")
    missing = [name for name in wanted if names.count(f"{name}.npy") != 1]
    if missing:
        raise _refused(
            f"the array {missing[0]} is missing or there twice", code="data/missing-array"
        )
    chosen = {name: archive.getinfo(f"{name}.npy") for name in wanted}
    total = sum(info.file_size for info in chosen.values())
    if total > MAX_BYTES:
        raise _refused(
            f"the arrays unpack to {total:,} bytes, more than {MAX_BYTES:,}", code="data/too-large"
        )
    return {name: _read_header(archive, name, info) for name, info in chosen.items()}


def _read_header(archive: zipfile.ZipFile, name: str, info: zipfile.ZipInfo) -> Member:
    if info.flag_bits & 0x1 or info.compress_type not in _METHODS:
        raise _refused(
            f"{name} is encrypted, or compressed by another method than deflate",
            code="data/packed-array",
        )
    try:
        with archive.open(info) as file:
            version = np.lib.format.read_magic(file)
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[version]
            shape, _, dtype = read(file)
            length = file.tell()
    except Exception:
        raise _refused(f"the header of {name} is damaged", code="data/damaged") from None
    if dtype.hasobject:
        raise _refused(
            f"{name} holds Python objects, which could run code", code="data/unsafe-array"
        )
    if any(side < 0 for side in shape) or (
        math.prod(shape) * dtype.itemsize != info.file_size - length
    ):
        raise _refused(f"{name} is not as long as its header says", code="data/damaged")
    return Member(shape=tuple(shape), dtype=dtype)


def _check_split(split: str, members: Mapping[str, Member]) -> None:
    images, labels = members[f"{split}_images"], members[f"{split}_labels"]
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

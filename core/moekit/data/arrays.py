"""Reads the arrays of an npz file that nobody vouches for.

An npz file is a zip archive of npy members (NumPy Enhancement Proposal 1). What a member claims to
be is read from its header and checked before any of its data is unpacked. Objects are refused,
since they could run code.
"""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np

from moekit.errors import DataError
from moekit.files import check_plain

MAX_BYTES = 8 * 2**30
"""Most bytes that one array may unpack to."""

_MAX_MEMBERS = 256
_SUFFIX = ".npy"
_LAST_LETTER, _SURROGATES = 0x10FFFF, (0xD800, 0xDFFF)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class ArrayHeader(NamedTuple):
    """What is known of an array before its data are unpacked.

    Attributes:
        shape: Its shape.
        dtype: The type of its values.
        size: Its bytes.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    size: int


class Arrays:
    """An open npz file.

    Args:
        path: The file.
        whose: What errors name in place of the file, if its name is private; they leave out what
            set them off, too.
        fix: What errors advise.

    Attributes:
        names: Names of the arrays.

    Raises:
        DataError: It is no npz archive, holds too many arrays, or one twice.
    """

    def __init__(
        self,
        path: Path,
        *,
        whose: str = "",
        fix: str = "write it again with numpy.savez_compressed, without objects",
    ) -> None:
        self._whose, self._fix, self._is_private = whose or path.name, fix, bool(whose)
        try:
            check_plain(path)
            self._archive = zipfile.ZipFile(path)
        except Exception as error:  # parsers of damaged bytes raise nearly anything
            raise self.refused(
                "the file is no npz archive, or is cut off", code="data/damaged"
            ) from self._cause(error)
        try:
            self.names = self._names()
        except DataError:
            self._archive.close()
            raise

    def __enter__(self) -> Arrays:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._archive.close()

    def read(self, name: str) -> np.ndarray:
        """One array.

        Raises:
            DataError: As of `header`, or its data are damaged.
        """
        self.header(name)
        try:
            with self._archive.open(f"{name}.npy") as file:
                array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
                if file.read(1):  # also makes zipfile compare the checksum
                    raise ValueError("there are bytes after the array")
                _check_letters(array)
        except Exception as error:
            raise self.refused(
                f"the data of {name} are damaged", code="data/damaged"
            ) from self._cause(error)
        return array

    def refused(self, what: str, fix: str = "", *, code: str) -> DataError:
        """An error about this file."""
        return DataError(what, whose=self._whose, fix=fix or self._fix, code=code)

    def header(self, name: str) -> ArrayHeader:
        """What an array is, of which nothing but the header is unpacked.

        Raises:
            DataError: It is not there, holds objects, is too large, packed in a way that is not
                read, or its header is damaged.
        """
        if name not in self.names:
            raise self.refused(f"there is no array {name!r}", code="data/missing-array")
        info = self._archive.getinfo(f"{name}.npy")
        if info.flag_bits & 0x1 or info.compress_type not in _METHODS:
            raise self.refused(
                f"{name} is encrypted or compressed by another method than deflate",
                code="data/packed-array",
            )
        if info.file_size > MAX_BYTES:
            raise self.refused(
                f"{name} unpacks to {info.file_size:,} bytes, over {MAX_BYTES:,}",
                code="data/too-large",
            )
        try:
            with self._archive.open(info) as file:
                shape, _, dtype = _READERS[np.lib.format.read_magic(file)](file)
                length = file.tell()
        except Exception as error:
            raise self.refused(
                f"the header of {name} is damaged", code="data/damaged"
            ) from self._cause(error)
        if dtype.hasobject:
            raise self.refused(
                f"{name} holds Python objects, which could run code", code="data/unsafe-array"
            )
        size = math.prod(shape) * dtype.itemsize
        if any(side < 0 for side in shape) or size != info.file_size - length:
            raise self.refused(f"{name} is not as long as its header says", code="data/damaged")
        return ArrayHeader(tuple(shape), dtype, size)

    def _names(self) -> tuple[str, ...]:
        files = [info.filename for info in self._archive.infolist()]
        if len(files) > _MAX_MEMBERS:
            raise self.refused(
                f"the archive holds more than {_MAX_MEMBERS} arrays", code="data/too-large"
            )
        names = [name[: -len(_SUFFIX)] for name in files if name.endswith(_SUFFIX)]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise self.refused(f"the array {twice} is there twice", code="data/missing-array")
        return tuple(names)

    def _cause(self, error: Exception) -> Exception | None:
        """What set an error off, unless it may name a private file."""
        return None if self._is_private else error


def _check_letters(array: np.ndarray) -> None:
    """Refuses texts with numbers that stand for no letter (Unicode 15, section 3.9)."""
    if array.dtype.kind != "U" or not array.dtype.itemsize:
        return
    letters = np.ascontiguousarray(array.reshape(-1)).view(f"{array.dtype.byteorder}u4")
    first, last = _SURROGATES
    if ((letters > _LAST_LETTER) | ((letters >= first) & (letters <= last))).any():
        raise ValueError("a text in it is none")

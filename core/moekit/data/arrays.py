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


class Arrays:
    """An open npz file.

    Args:
        path: The file.

    Raises:
        DataError: It is no npz archive.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            check_plain(path)
            self._archive = zipfile.ZipFile(path)
        except Exception as error:  # parsers of damaged bytes raise nearly anything
            raise self.refused(
                "the file is no npz archive, or is cut off", code="data/damaged"
            ) from error
        names = [info.filename for info in self._archive.infolist()]
        if len(names) > _MAX_MEMBERS or len(set(names)) < len(names):
            self._archive.close()
            raise self.refused(
                f"the archive holds more than {_MAX_MEMBERS} arrays, or one twice",
                code="data/too-large",
            )
        self.names = tuple(name[: -len(_SUFFIX)] for name in names if name.endswith(_SUFFIX))
        """Names of the arrays."""

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
            DataError: It is not there, holds objects, is too large, or its data are damaged.
        """
        self._check_header(name)
        try:
            with self._archive.open(f"{name}.npy") as file:
                array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
                if file.read(1):  # also makes zipfile compare the checksum
                    raise ValueError("there are bytes after the array")
                _check_letters(array)
        except Exception as error:
            raise self.refused(f"the data of {name} are damaged", code="data/damaged") from error
        return array

    def refused(self, what: str, fix: str = "", *, code: str) -> DataError:
        """An error about this file."""
        return DataError(
            what,
            whose=self._path.name,
            fix=fix or "write it again with numpy.savez_compressed, without objects",
            code=code,
        )

    def _check_header(self, name: str) -> None:
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
            raise self.refused(f"the header of {name} is damaged", code="data/damaged") from error
        if dtype.hasobject:
            raise self.refused(
                f"{name} holds Python objects, which could run code", code="data/unsafe-array"
            )
        if math.prod(shape) * dtype.itemsize != info.file_size - length:
            raise self.refused(f"{name} is not as long as its header says", code="data/damaged")


def _check_letters(array: np.ndarray) -> None:
    """Refuses texts with numbers that stand for no letter (Unicode 15, section 3.9)."""
    if array.dtype.kind != "U" or not array.dtype.itemsize:
        return
    letters = np.ascontiguousarray(array.reshape(-1)).view(f"{array.dtype.byteorder}u4")
    first, last = _SURROGATES
    if ((letters > _LAST_LETTER) | ((letters >= first) & (letters <= last))).any():
        raise ValueError("a text in it is none")

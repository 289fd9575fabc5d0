"""Arrays on disk that outlive the process, within a bound on their total size."""

from __future__ import annotations

import math
import os
import shutil
from pathlib import Path
from typing import Literal

import numpy as np

from moekit._files import read_json, write_json
from moekit.errors import DataError, StorageError

DEFAULT_LIMIT = 16 * 2**30
_BYTES = 2


class StoredMaps:
    """One array of bfloat16 bit patterns, and how much of it is done. Made by `Shelf.open`.

    Attributes:
        array: int16, the bit patterns.
        done: Samples that are finished.
        unreadable: Why a sample could not be computed, by its position.
    """

    def __init__(self, folder: Path, shape: tuple[int, ...]) -> None:
        self._record = folder / "record.json"
        self.done = 0
        self.unreadable: dict[int, str] = {}
        file = folder / "maps.bin"
        if file.exists() and file.stat().st_size == math.prod(shape) * _BYTES:
            self._read_record()
        mode: Literal["r+", "w+"] = "r+" if self.done else "w+"
        self.array = np.memmap(file, dtype=np.int16, mode=mode, shape=shape)

    def save(self) -> None:
        """Makes what was computed so far outlive the process."""
        self.array.flush()
        unreadable = {str(row): reason for row, reason in self.unreadable.items()}
        write_json(self._record, {"done": self.done, "unreadable": unreadable})

    def _read_record(self) -> None:
        try:
            record = read_json(self._record)
            self.unreadable = {int(row): reason for row, reason in record["unreadable"].items()}
            self.done = int(record["done"])
        except (DataError, KeyError, TypeError, ValueError):
            self.done, self.unreadable = 0, {}


class Shelf:
    """A folder of stored arrays; the least recently used make room for new ones.

    Args:
        folder: Where they lie.
        limit: Greatest total size, in bytes.
    """

    def __init__(self, folder: Path, *, limit: int = DEFAULT_LIMIT) -> None:
        self._folder = folder
        self._limit = limit

    def open(self, key: str, shape: tuple[int, ...]) -> StoredMaps:
        """Opens the array of that key, or makes room for it.

        Raises:
            StorageError: It is larger than the limit or than the space on the disk.
        """
        entry = self._folder / key
        needed = math.prod(shape) * _BYTES
        try:
            entry.mkdir(parents=True, exist_ok=True)
            os.utime(entry)
            self._make_room(entry, needed)
            self._check_disk(entry, needed)
            return StoredMaps(entry, shape)
        except OSError as error:
            raise self._no_space(str(error.strerror or error)) from error

    def _make_room(self, entry: Path, needed: int) -> None:
        if needed > self._limit:
            raise self._no_space(f"{_gib(needed)} needed, the limit is {_gib(self._limit)}")
        others = [path for path in self._folder.iterdir() if path.is_dir() and path != entry]
        sizes = {path: sum(file.stat().st_size for file in path.glob("*")) for path in others}
        used = sum(sizes.values())
        for path in sorted(others, key=lambda path: path.stat().st_mtime):
            if used + needed <= self._limit:
                break
            shutil.rmtree(path, ignore_errors=True)
            used -= sizes[path]

    def _check_disk(self, entry: Path, needed: int) -> None:
        present = sum(file.stat().st_blocks * 512 for file in entry.glob("*"))
        free = shutil.disk_usage(self._folder).free
        if free < needed - present:
            raise self._no_space(f"{_gib(needed - present)} needed, {_gib(free)} free")

    def _no_space(self, why: str) -> StorageError:
        return StorageError(
            f"the frozen activations cannot be stored: {why}",
            whose=str(self._folder),
            fix="free space, use fewer --views or a smaller --image-size, raise --cache-gib, or "
            "name another cache folder with XDG_CACHE_HOME",
        )


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"

"""Activations on disk, one file an image, within a bound on their total size.

A file is named by the hash of the image's bytes, so any data set that holds the image finds it. It
holds the views one after the other, then a CRC-32 of each (measured: 1.05 GB/s;
SHA-256 0.67 GB/s). It finds damage; it does not guard against forgery of one's own cache.

Several commands may share a folder. Each holds a lock on its plans, which ends with the process, so
none deletes what another one learns from.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import weakref
import zlib
from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np

from moekit.errors import StorageError
from moekit.files import try_lock

DEFAULT_LIMIT = 16 * 2**30
_BYTES, _CHECK = 2, 4
_LOCK = ".used"


class ActivationCache:
    """The stored activations of one plan. Other plans in the same folder make room for it.

    Args:
        folder: Holds a sub-folder a plan.
        plan: Name of the plan.
        shape: Of one image: (views, maps, tokens, width).
        limit: Greatest total size of `folder`, in bytes.
        kept: Names of plans that are needed at the same time and make no room.
    """

    def __init__(
        self,
        folder: Path,
        plan: str,
        shape: tuple[int, int, int, int],
        *,
        limit: int,
        kept: Collection[str] = (),
    ) -> None:
        self._root = folder
        self._folder = folder / plan
        self._shape = shape
        self._limit = limit
        self._kept = {folder / name for name in kept}
        self._view = math.prod(shape[1:]) * _BYTES
        self._size = shape[0] * (self._view + _CHECK)
        self._is_held = False

    def has(self, image: str) -> bool:
        """Whether the image of that hash is stored, in full length."""
        try:
            return self._path(image).stat().st_size == self._size
        except OSError:
            return False

    def read(self, image: str, view: int) -> np.ndarray:
        """One view: (maps, tokens, width) int16, the bit patterns of bfloat16.

        Raises:
            StorageError: The file has gone or changed since it was stored.
        """
        try:
            with self._path(image).open("rb") as file:
                file.seek(view * self._view)
                values = file.read(self._view)
                file.seek(self._shape[0] * self._view + view * _CHECK)
                check = file.read(_CHECK)
        except OSError as error:
            raise self._lost(image, f"are gone ({error.strerror or error})") from error
        if len(values) < self._view or check != _check_of(values):
            raise self._lost(image, "are damaged: their checksum is another one")
        return np.frombuffer(values, dtype=np.int16).reshape(self._shape[1:])

    def write(self, image: str, values: np.ndarray) -> None:
        """Stores all views of an image; the file is whole or absent.

        Raises:
            StorageError: The disk is full or cannot be written.
        """
        path = self._path(image)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            views = [np.ascontiguousarray(view).tobytes() for view in values]
            self._folder.mkdir(parents=True, exist_ok=True)  # somebody may have cleared the cache
            temporary.write_bytes(b"".join([*views, *map(_check_of, views)]))
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise self._no_space(str(error.strerror or error)) from error

    def make_room(self, wanted: Iterable[str]) -> None:
        """Sees that the images of these hashes fit; deletes what was used least recently.

        From then on, as long as this object lives, no other one deletes this plan.

        Raises:
            StorageError: They pass the limit by themselves or with what is in use now, or the space
                on the disk.
        """
        wanted = set(wanted)
        needed = len(wanted) * self._size
        if needed > self._limit:
            raise self._no_space(f"{_gib(needed)} needed, the limit is {_gib(self._limit)}")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            os.utime(self._folder)
            self._hold()
            self._delete_others(needed)
            self._delete_unwanted(wanted, needed)
            missing = sum(not self.has(image) for image in wanted) * self._size
            free = shutil.disk_usage(self._root).free
        except OSError as error:
            raise self._no_space(str(error.strerror or error)) from error
        if free < missing:
            raise self._no_space(f"{_gib(missing)} needed, {_gib(free)} free")

    def _delete_others(self, needed: int) -> None:
        others = [path for path in self._root.iterdir() if path.is_dir() and path != self._folder]
        sizes = {path: _size_of(path) for path in others}
        used, busy = sum(sizes.values()), 0
        spare = [path for path in others if path not in self._kept]
        for path in sorted(spare, key=_age):
            if used + needed <= self._limit:
                return
            if _is_held(path):
                busy += sizes[path]
                continue
            shutil.rmtree(path, ignore_errors=True)
            used -= sizes[path]
        if used + needed > self._limit:
            others_in_words = f", {_gib(busy)} of it by other commands that run now" if busy else ""
            raise self._no_space(
                f"{_gib(used + needed)} needed{others_in_words}, the limit is {_gib(self._limit)}"
            )

    def _delete_unwanted(self, wanted: set[str], needed: int) -> None:
        kept = {*wanted, _LOCK}
        spare = [path for path in self._folder.iterdir() if path.stem not in kept]
        used = sum(path.stat().st_size for path in spare)
        for path in sorted(spare, key=_age):
            if used + needed <= self._limit:
                return
            used -= path.stat().st_size
            path.unlink(missing_ok=True)

    def _hold(self) -> None:
        """Says to others, until this object or the process ends, that the plan is in use."""
        if not self._is_held:
            handle = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
            weakref.finalize(self, os.close, handle)
            self._is_held = try_lock(handle, alone=False)

    def _path(self, image: str) -> Path:
        return self._folder / f"{image}.bf16"

    def _lost(self, image: str, why: str) -> StorageError:
        return StorageError(
            f"stored activations {why}",
            whose=str(self._path(image)),
            fix="run the command again with --resume; they are computed again",
            code="storage/lost",
        )

    def _no_space(self, why: str) -> StorageError:
        return StorageError(
            f"the frozen activations cannot be stored: {why}",
            whose=str(self._root),
            fix="free space, use fewer --views or a smaller --image-size, raise --cache-gib, or "
            "name another cache folder with XDG_CACHE_HOME",
            code="storage/no-space",
        )


def _is_held(folder: Path) -> bool:
    """Whether somebody has opened that plan and still uses it."""
    try:
        handle = os.open(folder / _LOCK, os.O_RDWR)
    except OSError:
        return False
    try:
        return not try_lock(handle)
    finally:
        os.close(handle)


def _size_of(folder: Path) -> int:
    """Bytes of the files of a plan; what another command deletes meanwhile has none."""
    size = 0
    with contextlib.suppress(FileNotFoundError):
        for path in folder.iterdir():
            with contextlib.suppress(FileNotFoundError):
                size += path.stat().st_size
    return size


def _age(path: Path) -> float:
    """When it was changed; what is gone comes first."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _check_of(values: bytes) -> bytes:
    return zlib.crc32(values).to_bytes(_CHECK, "little")


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"

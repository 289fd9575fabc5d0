"""Pictures that loaders write once below the cache folder, from files that hold many of them.

`CACHE/KIND/KEY/` holds lossless PNG files and `index.json`, written last, with the SHA-256 of each.
The folder is written under another name and renamed, so it is whole or absent. One whose files are
not those of its index is removed, and the damage is named. Nothing is forced to the disk, since a
cache can be made again and there may be many thousand files.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from moekit.backbone.sources import cache_folder
from moekit.errors import DataError, StorageError
from moekit.files import read_json, sha256, write_json

_INDEX = "index.json"
KEY_DIGITS = 32
"""Digits of a hash that are enough for a key."""


def stored_pictures(kind: str, key: str, pictures: Iterable[tuple[str, np.ndarray]]) -> Path:
    """The folder of a key, which is written now if it is not there.

    Args:
        kind: Sub-folder of the cache.
        key: Name of the folder; it must depend on all that the pictures depend on.
        pictures: Names that end with `.png`, and (H, W, 3) or (H, W) uint8; read only if the folder
            must be written.

    Raises:
        DataError: A picture was damaged since it was written; the folder is removed, so that the
            next call writes it again.
        StorageError: The cache cannot be written.
    """
    folder = cache_folder() / kind / key
    if folder.is_dir() and not _is_of_lengths(folder):
        _check(folder)
        return folder
    temporary: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{key}.", suffix=".tmp"))
        _write(temporary, pictures)
        if _is_of_lengths(folder):
            shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():  # another process may have been first
            temporary.rename(folder)
    except OSError as error:
        raise StorageError(
            f"cannot write pictures into the cache ({error.strerror or error})",
            whose=str(folder),
            fix="free space, or set MOEKIT_CACHE_DIR to a folder that can be written",
            code="storage/cannot-write",
        ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _write(folder: Path, pictures: Iterable[tuple[str, np.ndarray]]) -> None:
    hashes: dict[str, str] = {}
    for name, pixels in pictures:
        memory = io.BytesIO()
        Image.fromarray(pixels).save(memory, format="PNG", compress_level=1)
        (folder / name).write_bytes(memory.getvalue())
        hashes[name] = hashlib.sha256(memory.getvalue()).hexdigest()
    write_json(folder / _INDEX, hashes)


def _is_of_lengths(folder: Path) -> bool:
    """Whether a folder was written by an earlier version, which noted lengths and no hashes."""
    try:
        known = read_json(folder / _INDEX)
    except DataError:
        return False
    return isinstance(known, dict) and any(isinstance(value, int) for value in known.values())


def _check(folder: Path) -> None:
    """Checks that all files of the index are there, each with its content."""
    name = _INDEX
    try:
        hashes = read_json(folder / _INDEX)
        for name, expected in hashes.items():
            if sha256(folder / name) != expected:
                break
        else:
            return
    except (OSError, DataError, AttributeError):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    raise DataError(
        "a file of the cache is missing or damaged; the folder is removed",
        whose=f"{folder.parent.name}/{folder.name}/{name}",
        fix="run the command again, which writes it again; check the disk if this comes back",
        code="data/damaged-cache",
    )

"""Images that loaders write once, below the cache folder: whole or absent, and checked when used.

`CACHE/KIND/KEY/` holds PNG files, or TIFF files of stacks, and `index.json`, written last, with the
SHA-256 of each of them. The folder is written under another name and renamed, so a run that was
interrupted leaves nothing that could be taken for complete. Folders are readable by their owner
alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from moekit import DataError, StorageError
from moekit.backbone import cache_folder
from moekit.files import read_json, sha256, to_json

INDEX = "index.json"
KEY_DIGITS = 16
_ABANDONED_S = 24 * 3600
"""After this time a folder under a temporary name belongs to no run that is still going."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cached:
    """A complete folder of the cache.

    Attributes:
        folder: Where it lies.
        images: SHA-256 of each image by its name in the folder.
        notes: What the writer noted, by name.
    """

    folder: Path
    images: Mapping[str, str]
    notes: Mapping[str, str]


class Writer:
    """Takes the images and notes of a folder that is being written."""

    def __init__(self, folder: Path) -> None:
        self.images: dict[str, str] = {}
        self.notes: dict[str, str] = {}
        self._folder = folder

    def image(self, name: str, pixels: np.ndarray) -> None:
        """Writes a PNG file.

        Args:
            name: File name, with a sub-folder or without.
            pixels: (H, W) or (H, W, 3) uint8.
        """
        memory = io.BytesIO()
        Image.fromarray(pixels).save(memory, format="PNG")
        self._keep(name, memory.getvalue())

    def stack(self, name: str, pixels_THW: np.ndarray) -> None:
        """Writes a TIFF file of one page a frame, uncompressed.

        Args:
            name: File name, with a sub-folder or without.
            pixels_THW: (T, H, W) uint8.
        """
        memory = io.BytesIO()
        first, *others = [Image.fromarray(pixels_HW) for pixels_HW in pixels_THW]
        first.save(memory, format="TIFF", save_all=True, append_images=others)
        self._keep(name, memory.getvalue())

    def _keep(self, name: str, content: bytes) -> None:
        path = self._folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        self.images[name] = hashlib.sha256(content).hexdigest()

    def note(self, name: str, text: str) -> None:
        """Keeps a sentence."""
        self.notes[name] = text


def cached(kind: str, key: str, write: Callable[[Writer], None]) -> Cached:
    """The folder of a key: from the cache, or written now.

    Every image is read and compared with its hash. If one is damaged or missing the folder is
    removed and the damage is named; the next call writes the folder again.

    Args:
        kind: Sub-folder of the cache.
        key: Name of the folder; it must depend on all that the images depend on.
        write: Writes all images and notes.

    Raises:
        DataError: An image was damaged.
        StorageError: The cache cannot be written.
    """
    place = cache_folder() / kind / key
    if not place.is_dir():
        try:
            _write(place, write)
        except OSError as error:
            raise _unwritable(error) from error
    return _checked(place)


def key_of(*parts: str) -> str:
    """A key that depends on every part and on their order."""
    lengths = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(lengths.encode("utf-8", "surrogatepass")).hexdigest()[:KEY_DIGITS]


def _write(place: Path, write: Callable[[Writer], None]) -> None:
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    _remove_abandoned(place.parent)
    temporary = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name}.", suffix=".tmp"))
    try:
        writer = Writer(temporary)
        write(writer)
        index = to_json({"images": writer.images, "notes": writer.notes})
        (temporary / INDEX).write_text(index, encoding="utf-8")
        try:
            temporary.rename(place)
        except OSError:
            if not place.is_dir():  # otherwise another run was faster with the same content
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _remove_abandoned(folder: Path) -> None:
    for path in folder.glob(".*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _ABANDONED_S:
                shutil.rmtree(path, ignore_errors=True)


def _checked(place: Path) -> Cached:
    try:
        index = read_json(place / INDEX)
        images, notes = dict(index["images"]), dict(index["notes"])
    except (DataError, KeyError, TypeError, ValueError):
        raise _damaged(place, INDEX) from None
    for name, digest in images.items():
        try:
            intact = sha256(place / name) == digest
        except OSError:
            intact = False
        if not intact:
            raise _damaged(place, name)
    return Cached(folder=place, images=images, notes=notes)


def _damaged(place: Path, name: str) -> DataError:
    """Removes the folder and reports the damage."""
    aside = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    try:
        place.rename(aside)
    except OSError as error:
        raise _unwritable(error) from error
    shutil.rmtree(aside, ignore_errors=True)
    return DataError(
        f"an image in the cache was damaged ({name}), so its folder was removed",
        whose=f"{place.parent.name}/{place.name} in the cache of moekit",
        fix="run the command again; the images are written again",
        code="data/damaged-cache",
    )


def _unwritable(error: OSError) -> StorageError:
    return StorageError(
        f"cannot write the images of the set ({error.strerror or type(error).__name__})",
        whose="the cache of moekit",
        fix="free space, or set MOEKIT_CACHE_DIR to a folder that can be written",
        code="storage/cannot-write",
    )

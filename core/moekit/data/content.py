"""What files hold, whatever they are called: hashes of their bytes, and files with the same ones.

The hash is SHA-256, which weights, caches and stored activations are named by too, so that each
file is hashed once for all of them. Processors with instructions for it hash faster by SHA-256
than by BLAKE2 (measured: 0.74 and 0.33 GB/s). Others hash faster than a picture is decoded.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from PIL import Image

from moekit.data.samples import Sample
from moekit.errors import DataError, ImageError
from moekit.files import sha256

Stamp = tuple[int, int, int, int]
"""Size in bytes, times of change of content and of the entry in nanoseconds, and the inode."""
Made = TypeVar("Made")
_FRESH_NS = 3_000_000_000
"""A file that was changed so shortly before may change again within one tick of its clock."""
_TRIES = 5
_WAIT_S = 0.1


def stamp_of(path: Path) -> Stamp | None:
    """What changes with a file's content; None if there is no such file."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


class Contents:
    """Hashes of files. A file is hashed again only if it may have changed since. For threads."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[Stamp, str]] = {}

    def of(self, path: Path) -> str:
        """SHA-256 of the file's bytes, in hexadecimal.

        Empty if it cannot be read, or is no file but something whose bytes may have no end.
        """
        known, stamp = self._known.get(path), stamp_of(path)
        if known is not None and known[0] == stamp:
            return known[1]
        try:
            if not path.is_file():
                return ""
            found = sha256(path)
        except (OSError, ValueError):
            return ""
        # A file that changed a moment ago, or meanwhile, is hashed again the next time.
        if stamp is not None and stamp == stamp_of(path) and _is_settled(stamp):
            self._known[path] = (stamp, found)
        return found

    def read(self, path: Path, load: Callable[[], Made]) -> tuple[Made, str]:
        """What `load` makes of a file, and the hash of the very bytes that it was made from.

        Raises:
            ImageError: The file changes while it is read; or whatever `load` raises.
        """
        for number in range(_TRIES):
            before = stamp_of(path)
            made, content = load(), self.of(path)
            if before is not None and before == stamp_of(path):
                return made, content
            time.sleep(number * _WAIT_S)
        raise ImageError(
            "the file changes while it is read",
            whose=str(path),
            fix="wait until its writer is done, then run the command again",
            code="image/changing",
        )


def content_of_frames(frames: Sequence[Image.Image]) -> str:
    """SHA-256 of the sizes and pixels of pictures, in hexadecimal."""
    digest = hashlib.sha256()
    for frame in frames:
        digest.update(f"{frame.mode} {frame.size} ".encode())
        digest.update(frame.tobytes())
    return digest.hexdigest()


def _is_settled(stamp: Stamp) -> bool:
    if sys.platform == "win32":  # whose second time is that of creation
        return False
    return time.time_ns() - max(stamp[1], stamp[2]) > _FRESH_NS


def find_twins(samples: Iterable[Sample], *, whose: str) -> dict[str, Sample]:
    """For the id of each sample whose file an earlier one has too, that earlier one.

    Only files of the same length are hashed.

    Raises:
        DataError: A file cannot be read.
    """
    by_length: dict[int, list[Sample]] = {}
    first: dict[str, Sample] = {}
    twins: dict[str, Sample] = {}
    try:
        for sample in samples:
            by_length.setdefault(sample.path.stat().st_size, []).append(sample)
        for sample in (one for many in by_length.values() if len(many) > 1 for one in many):
            twin = first.setdefault(sha256(sample.path), sample)
            if twin is not sample:
                twins[sample.id] = twin
    except OSError as error:
        raise DataError(
            f"a file cannot be read ({error.strerror or error})",
            whose=str(error.filename or whose),
            fix="check the disk and the file's permissions, or leave it out",
            code="data/unreadable",
        ) from error
    return twins

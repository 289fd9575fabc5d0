"""Writing pictures that people look at."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from moekit.files import atomic_path

LONG_SIDE = 480
"""Longest side of an overlay, in pixels."""
_QUALITY = 85


def save_jpeg(path: Path, picture: Image.Image) -> None:
    """Writes an RGB picture as JPEG; the file is whole or absent.

    Raises:
        StorageError: The file cannot be written.
    """
    with atomic_path(path) as temporary:
        picture.save(temporary, format="JPEG", quality=_QUALITY)

"""Pictures as people look at them, and large ones handled without needless copies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from moekit.files import atomic_path

LONG_SIDE = 480
"""Longest side of an overlay, in pixels."""
_QUALITY = 85
_STRIP = 1_000_000
"""Pixels of a strip."""


def bare(image: Image.Image) -> Image.Image:
    """A decoded image as a plain one, without metadata and without a copy of its pixels.

    Neither of the two may be drawn on afterwards.
    """
    made = image._new(image.im)
    made.info = {}
    return made


def reduced(picture: Image.Image, longest: int) -> Image.Image:
    """A picture of at most `longest` pixels a side, as `Image.thumbnail` makes it of a copy."""
    small = bare(picture)
    small.thumbnail((longest, longest))
    return small if small.size != picture.size else picture.copy()


def strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """A decoded image cut into strips, so that arrays of it are small: first row, and strip."""
    rows = max(1, _STRIP // image.width)
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def save_jpeg(path: Path, picture: Image.Image) -> None:
    """Writes an RGB picture as JPEG; the file is whole or absent.

    Raises:
        StorageError: The file cannot be written.
    """
    with atomic_path(path) as temporary:
        picture.save(temporary, format="JPEG", quality=_QUALITY)

"""Boxes of pictures that are stored turned, as cameras do, and shown upright by their EXIF block.

Shapes: H and W rows and columns of the upright picture.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from moekit import ImageError
from moekit.data import check_file, read_size
from moekit_detection.loaders.repairs import Shape

_ORIENTATION = 0x0112
QUARTERS = (5, 6, 7, 8)
"""EXIF orientations that exchange rows and columns."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Header:
    """What the header of a picture says.

    Attributes:
        size: (H, W), upright; None if it cannot be read.
        orientation: By EXIF: 1 for upright, 2 to 8 for turned or mirrored.
        fault: Why it cannot be read; empty if it can.
    """

    size: tuple[int, int] | None = None
    orientation: int = 1
    fault: str = ""

    @property
    def turned(self) -> bool:
        """Whether it is stored with rows and columns exchanged."""
        return self.orientation in QUARTERS


def read_header(path: Path) -> Header:
    """The header of a picture, whatever is wrong with the file."""
    try:
        check_file(path)
        size = read_size(path)
    except ImageError as error:
        return Header(fault=error.what)
    return Header(size=size, orientation=_orientation(path))


def _orientation(path: Path) -> int:
    try:
        with Image.open(path) as image:
            found = int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # a damaged EXIF block says nothing about the pixels
        return 1
    return found if 1 <= found <= 8 else 1


def upright(shape: Shape, size: tuple[int, int], orientation: int) -> Shape:
    """An object of a picture that is stored turned, in the upright picture.

    Args:
        shape: In pixels of the stored picture, which has W rows and H columns.
        size: (H, W) upright.
        orientation: One of `QUARTERS`.
    """
    x, y, width, height = shape.box
    # The stored picture's columns are the upright one's rows.
    left = size[1] - y - height if orientation in (6, 7) else y
    top = size[0] - x - width if orientation in (7, 8) else x
    return dataclasses.replace(shape, box=(left, top, height, width))


def all_upright(
    shapes: Sequence[Shape], header: Header, stored: tuple[int, int] | None
) -> list[Shape] | None:
    """The objects of a picture in its upright form.

    Args:
        shapes: As annotated.
        header: Of the picture, which can be read.
        stored: (H, W) that the annotations are of; None if they do not say.

    Returns:
        The objects; None if the annotations are of another size than the picture, which no turn
        explains.
    """
    assert header.size is not None
    if stored is None or stored == header.size:
        return list(shapes)
    if header.turned and stored == header.size[::-1]:
        return [upright(shape, header.size, header.orientation) for shape in shapes]
    return None

"""Masks that their EXIF orientation turns otherwise than their images."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from moekit.data.conversion import orientation
from moekit.data.pillow_rules import opened_header
from moekit.data.remarks import turn_of
from moekit.errors import ImageError


def refuse_other_turn(mask: Image.Image, path: Path, image: Path) -> None:
    """Refuses a mask with an EXIF orientation that is not that of its image.

    Programs copy the block of a photograph into a mask that is drawn upright, and others draw on
    the pixels as they are stored: which of the two it is, nobody can tell.

    Args:
        mask: Loaded, and marked by `mark_unread` before.
        path: Its file, which the error names.
        image: The image that it belongs to.

    Raises:
        ImageError: The orientations differ, or the image cannot be read.
    """
    turn = turn_of(mask)
    if turn is None:
        return
    with opened_header(image) as header:
        own = orientation(header)
    if own != turn:
        raise ImageError(
            "the EXIF orientation of the mask is to turn it, and its image is not turned so",
            whose=str(path),
            fix="save the mask upright without an EXIF block, or give both the same orientation",
            code="image/mask-turn",
        )

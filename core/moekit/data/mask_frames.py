"""Masks of several frames or pages, of which nobody says which one is meant."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from moekit.errors import ImageError


def refuse_frames(image: Image.Image, path: Path) -> None:
    """Refuses a mask of several frames; the image is wound on by it, so this comes last.

    Args:
        image: As Pillow has read it from the file.
        path: The file, which the error names.

    Raises:
        ImageError: It has several.
    """
    try:
        several = bool(getattr(image, "is_animated", False))
    except Exception:  # a damaged second frame says nothing about the first
        return
    if several:
        raise ImageError(
            "the mask has several frames or pages, and it is not known which one is meant",
            whose=str(path),
            fix="save that of the image as a file of one frame, or leave the mask out",
            code="image/frame-count",
        )

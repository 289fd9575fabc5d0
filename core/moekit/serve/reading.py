"""Images from the bodies of requests, read by the reader of all commands."""

from __future__ import annotations

import hashlib
from pathlib import Path

from moekit.data.images import Pages, read_remarked
from moekit.data.remarks import Remark
from moekit.errors import ImageError

_NAME = Path("image.png")
"""What errors call an image; the name that a client gives it is not kept."""


def content_of(content: bytes) -> str:
    """The SHA-256 of an image's bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def read_content(
    content: bytes, *, bits: int | None, most_pixels: int
) -> tuple[Pages, tuple[Remark, ...]]:
    """The RGB picture of an image file's bytes, and what was guessed on the way.

    Args:
        content: The file's bytes; they decide the format.
        bits: As of `moekit.data.images.read_frames`.
        most_pixels: Most pixels that are decoded.

    Raises:
        ImageError: As of `moekit.data.images.read_image`.
    """
    if not content:
        raise ImageError(
            "the image is empty (0 bytes)",
            whose="the request",
            fix="send the bytes of an image file",
            code="image/empty",
        )
    return read_remarked(_NAME, 1, bits=bits, max_pixels=most_pixels, content=content)

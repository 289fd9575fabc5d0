"""Images from the bodies of requests, read by the reader of all commands."""

from __future__ import annotations

import hashlib
from pathlib import Path

from PIL import Image

from moekit.data.content import content_of_frames
from moekit.data.images import Pages, read_remarked
from moekit.data.remarks import Remark
from moekit.errors import ImageError

_NAME = Path("image.png")
"""What errors call an image; the name that a client gives it is not kept."""


Sent = bytes | Image.Image
"""An image as it comes: the bytes of a file, or a frame of a video as an RGB picture."""


def content_of(content: Sent) -> str:
    """The SHA-256 of an image's bytes in hexadecimal; of a frame that of its size and pixels."""
    if isinstance(content, Image.Image):
        return content_of_frames([content])
    return hashlib.sha256(content).hexdigest()


def read_content(
    content: Sent, *, bits: int | None, most_pixels: int
) -> tuple[Pages, tuple[Remark, ...]]:
    """The RGB picture of an image file's bytes, and what was guessed on the way.

    Args:
        content: The file's bytes, which decide the format; or the picture itself.
        bits: As of `moekit.data.images.read_frames`.
        most_pixels: Most pixels that are decoded.

    Raises:
        ImageError: As of `moekit.data.images.read_image`.
    """
    if isinstance(content, Image.Image):
        return (content,), ()
    if not content:
        raise ImageError(
            "the image is empty (0 bytes)",
            whose="the request",
            fix="send the bytes of an image file",
            code="image/empty",
        )
    return read_remarked(_NAME, 1, bits=bits, max_pixels=most_pixels, content=content)

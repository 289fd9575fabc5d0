"""Which compression of a mask loses the numbers of classes, and masks refused for it.

| file | loses them |
| --- | --- |
| JPEG, MPO | always |
| WebP | if its frames are `VP8 ` and not `VP8L` (RFC 9649) |
| TIFF | if its pages are compressed as JPEG, JPEG 2000, WebP or LERC |
| any, of two values | if the others lie near black and near white: it was compressed before |
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, TiffImagePlugin

from moekit.errors import ImageError

_JPEG = ("JPEG", "MPO")
_TIFF_COMPRESSION = 259
_OF_TIFF = {
    6: "JPEG in TIFF",
    7: "JPEG in TIFF",
    33003: "JPEG 2000 in TIFF",
    33004: "JPEG 2000 in TIFF",
    33005: "JPEG 2000 in TIFF",
    34712: "JPEG 2000 in TIFF",
    34887: "LERC in TIFF",
    34892: "JPEG in TIFF",
    50001: "WebP in TIFF",
}
_MOST_CHUNKS = 10_000
_NEAR, _LEAST_VALUES, _LEAST_SHARE = 16, 4, 0.9


def refuse_lossy(image: Image.Image, path: Path) -> None:
    """Refuses a mask whose compression makes numbers up.

    Args:
        image: As Pillow has read it from the file.
        path: The file, which the error names.

    Raises:
        ImageError: It is compressed with loss.
    """
    if image.format in _JPEG:
        raise ImageError(
            "the mask is a JPEG, whose compression changes the numbers of classes",
            whose=str(path),
            fix="draw it again without loss, as PNG, BMP or TIFF",
            code="image/jpeg-mask",
        )
    loss = _loss_of(image, path)
    if loss:
        raise ImageError(
            f"the mask is {loss}, whose compression changes the numbers of classes",
            whose=str(path),
            fix="draw it again without loss, as PNG, BMP or TIFF",
            code="image/lossy-mask",
        )


def refuse_noise(counts: np.ndarray, path: Path) -> None:
    """Refuses a mask of black and white with the noise of a lossy file that it was made from.

    Values near black and near white, several of each, and few between: edges that are smoothed, or
    numbers of things, are spread over all values.

    Args:
        counts: (256,) pixels of each value, of a mask whose values but 0 all mean the same.
        path: What the error names.

    Raises:
        ImageError: It looks like that.
    """
    between = counts[1:255]
    low, high = between[: _NEAR - 1], between[-(_NEAR - 1) :]
    near = low.sum() + high.sum()
    several = min(np.count_nonzero(low), np.count_nonzero(high)) >= _LEAST_VALUES
    if several and near >= _LEAST_SHARE * between.sum():
        raise ImageError(
            f"{near} pixels of the mask have values near black or near white, as lossy compression "
            "leaves them, and each value but 0 would count as positive",
            whose=str(path),
            fix="draw it again, or save it with two values: black below 128, white above",
            code="image/lossy-mask",
        )


def _loss_of(image: Image.Image, path: Path) -> str:
    """What compresses a TIFF or WebP file with loss; empty if nothing does."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return _OF_TIFF.get(image.tag_v2.get(_TIFF_COMPRESSION, 1), "")
    if image.format != "WEBP":
        return ""
    with path.open("rb") as file:
        return "lossy WebP" if _is_lossy_webp(file) else ""


def _is_lossy_webp(file: BinaryIO) -> bool:
    """Whether a frame is of VP8; frames of an animation lie in chunks of their own."""
    file.seek(12)
    for _ in range(_MOST_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            break
        name, size = head[:4], struct.unpack("<I", head[4:])[0]
        if name == b"VP8 ":
            return True
        if name == b"ANMF":
            file.seek(16, 1)  # place, size and duration; the frame's own chunks follow
            continue
        file.seek(size + size % 2, 1)
    return False

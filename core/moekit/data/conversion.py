"""Pixels of a decoded file as RGB, or as a mask; the rules are those of `moekit.data.images`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, TiffImagePlugin

from moekit.data.lossy import refuse_lossy, refuse_noise
from moekit.errors import ImageError

STATED = "the file states its scale"
"""Key in `info` of a picture whose reader has brought its numbers to 16 bits."""
DEEP = "colours of 16 bits"
"""Key in `info` of a picture of whose colours Pillow keeps the upper 8 bits."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
QUARTER_TURNS = tuple(_TURNS[number] for number in (5, 6, 7, 8))
"""The turns that exchange rows and columns."""
_EXIF_ORIENTATION = 0x0112
_TIFF_BITS_PER_SAMPLE = 258
_TIFF_PHOTOMETRIC = 262
_TIFF_WHITE_IS_ZERO = 0


def orientation(image: Image.Image) -> Image.Transpose | None:
    """The turn that the EXIF block asks for, if any."""
    try:
        return _TURNS.get(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # a damaged EXIF block says nothing about the pixels
        return None


def to_mask(image: Image.Image, path: Path) -> Image.Image:
    """A loaded image as one of mode "L": 255 where it is not zero (not black), else 0.

    Raises:
        ImageError: It is, or was, compressed with loss, whose noise is not zero.
    """
    refuse_lossy(image, path)
    if image.mode.startswith("I") or image.mode == "F":
        full_scale, inverted = _tiff_scale(image)
        positive_HW = np.asarray(image) != (full_scale if inverted else 0)
    else:
        values_HW = np.asarray(to_rgb(image, path)).max(axis=2)
        refuse_noise(values_HW, path)
        positive_HW = values_HW > 0
    return Image.fromarray(positive_HW.astype(np.uint8) * 255)


def to_rgb(image: Image.Image, path: Path, *, bits: int | None = None) -> Image.Image:
    """A loaded image in mode "RGB".

    Args:
        image: Marked by `mark_unread` before it was loaded.
        path: What an error names.
        bits: Bits of the numbers of files of more than 8 bits that do not say it themselves; None
            for 16.

    Raises:
        ImageError: Its values have no brightness, or do not fit into that many bits.
    """
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise _no_scale(path, "integers outside 0..65535", values)
        scale = full_scale(image, bits)
        if values.max() > scale:
            raise ImageError(
                f"the image holds the number {values.max()}, and {bits} bits hold at most {scale}",
                whose=str(path),
                fix=f"adapt with --bits {needed_bits(int(values.max()))}, or save the image as "
                "8 bits",
                code="image/over-bits",
            )
        return _from_integers(values, scale, _tiff_scale(image)[1])
    if bits is not None and bits < 16 and image.info.get(DEEP):
        raise ImageError(
            f"its colours have 16 bits each, of which the upper 8 are read: numbers of {bits} bits "
            "would lose what they say",
            whose=str(path),
            fix="save it with 8 bits a colour, scaled to full brightness",
            code="image/deep-colours",
        )
    if image.mode == "F":
        return _from_floats(np.asarray(image), path)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        black = Image.new("RGBA", layer.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, layer).convert("RGB")
    return image.convert("RGB")


def full_scale(image: Image.Image, bits: int | None = None) -> int:
    """The number of full scale of a picture of integers of more than 8 bits; see `to_rgb`."""
    return _tiff_scale(image)[0] if bits is None or states_scale(image) else (1 << bits) - 1


def states_scale(image: Image.Image) -> bool:
    """Whether the file itself says how many bits its numbers have, where 16 is no such word."""
    return _tiff_scale(image)[0] != 65535 or bool(image.info.get(STATED))


def needed_bits(highest: int) -> int:
    """Least bits, from 8 on, that hold a number."""
    return max(8, int(highest).bit_length())


def _tiff_scale(image: Image.Image) -> tuple[int, bool]:
    """The value of full scale, and whether it means black (which Pillow ignores at 16 bits)."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return 65535, False
    bits = image.tag_v2.get(_TIFF_BITS_PER_SAMPLE, (16,))[0]
    inverted = image.tag_v2.get(_TIFF_PHOTOMETRIC) == _TIFF_WHITE_IS_ZERO
    return (4095 if bits == 12 else 65535), inverted


def _from_integers(values: np.ndarray, full_scale: int, inverted: bool) -> Image.Image:
    levels = np.minimum(np.arange(65536), full_scale)
    table = ((levels * 255 + full_scale // 2) // full_scale).astype(np.uint8)
    return Image.fromarray((255 - table if inverted else table)[values]).convert("RGB")


def _from_floats(values: np.ndarray, path: Path) -> Image.Image:
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 255):  # nan compares false
        raise _no_scale(path, "floating-point values outside [0, 255] or not finite", values)
    scale = 255.0 if high <= 1 else 1.0
    return Image.fromarray(np.rint(values * scale).astype(np.uint8)).convert("RGB")


def _no_scale(path: Path, found: str, values: np.ndarray) -> ImageError:
    return ImageError(
        f"the image holds {found} ({values.min():g} to {values.max():g}), which have no brightness",
        whose=str(path),
        fix="save it with a brightness scale you choose, as 8-bit or 16-bit integers",
        code="image/no-scale",
    )

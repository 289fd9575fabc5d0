"""Pixels of a decoded file as RGB, or as a mask; the rules are those of `moekit.data.images`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, TiffImagePlugin

from moekit.data.pictures import bare, strips
from moekit.errors import ImageError

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
JPEG_FORMATS = ("JPEG", "MPO")
"""What Pillow calls JPEG files, of one picture and of several."""
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
        ImageError: It is a JPEG, whose noise is not zero.
    """
    if image.format in JPEG_FORMATS:
        raise ImageError(
            "the mask is a JPEG, whose compression leaves values other than zero everywhere",
            whose=str(path),
            fix="draw it again without loss, as PNG, BMP or TIFF",
            code="image/jpeg-mask",
        )
    numbers = image.mode.startswith("I") or image.mode == "F"
    full_scale, inverted = _tiff_scale(image) if numbers else (0, False)
    rgb = image if numbers else to_rgb(image, path)
    mask = Image.new("L", image.size)
    for top, part in strips(rgb):
        values = np.asarray(part)
        positive_HW = values != (full_scale if inverted else 0) if numbers else values.any(axis=2)
        mask.paste(Image.fromarray(positive_HW.astype(np.uint8) * 255), (0, top))
    return mask


def to_rgb(image: Image.Image, path: Path) -> Image.Image:
    """A loaded image in mode "RGB".

    Raises:
        ImageError: Its values have no brightness.
    """
    if image.mode.startswith("I"):
        if image.mode == "I":
            low, high = extremes(image)
            if low < 0 or high > 65535:
                raise _no_scale(path, "integers outside 0..65535", low, high)
        table = _brightness(*_tiff_scale(image))
        return _by_strips(image, lambda part: Image.fromarray(table[np.asarray(part)]))
    if image.mode == "F":
        low, high = extremes(image)
        if not (low >= 0 and high <= 255):  # nan compares false
            found = "floating-point values outside [0, 255] or not finite"
            raise _no_scale(path, found, low, high)
        scale = 255.0 if high <= 1 else 1.0
        return _by_strips(image, lambda part: _from_floats(np.asarray(part), scale))
    if image.has_transparency_data:
        return _by_strips(image, _over_black)
    return bare(image) if image.mode == "RGB" else image.convert("RGB")


def extremes(image: Image.Image) -> tuple[float, float]:
    """The least and the greatest value of a picture of one channel; NaN if one is NaN."""
    found = [(part.min(), part.max()) for part in (np.asarray(one) for _, one in strips(image))]
    lows, highs = zip(*found, strict=True)
    return float(np.min(lows)), float(np.max(highs))


def full_scale(image: Image.Image) -> int:
    """The number of full scale of a picture of integers of more than 8 bits."""
    return _tiff_scale(image)[0]


def _tiff_scale(image: Image.Image) -> tuple[int, bool]:
    """The value of full scale, and whether it means black (which Pillow ignores at 16 bits)."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return 65535, False
    bits = image.tag_v2.get(_TIFF_BITS_PER_SAMPLE, (16,))[0]
    inverted = image.tag_v2.get(_TIFF_PHOTOMETRIC) == _TIFF_WHITE_IS_ZERO
    return (4095 if bits == 12 else 65535), inverted


def _by_strips(image: Image.Image, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    made = Image.new("RGB", image.size)
    for top, part in strips(image):
        made.paste(convert(part).convert("RGB"), (0, top))
    return made


def _over_black(part: Image.Image) -> Image.Image:
    layer = part.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, (0, 0, 0, 255)), layer)


def _brightness(full_scale: int, inverted: bool) -> np.ndarray:
    """(65536,) uint8: the brightness of each number."""
    levels = np.minimum(np.arange(65536), full_scale)
    table = ((levels * 255 + full_scale // 2) // full_scale).astype(np.uint8)
    return 255 - table if inverted else table


def _from_floats(values: np.ndarray, scale: float) -> Image.Image:
    return Image.fromarray(np.rint(values * scale).astype(np.uint8))


def _no_scale(path: Path, found: str, low: float, high: float) -> ImageError:
    return ImageError(
        f"the image holds {found} ({low:g} to {high:g}), which have no brightness",
        whose=str(path),
        fix="save it with a brightness scale you choose, as 8-bit or 16-bit integers",
        code="image/no-scale",
    )

"""Pixels of a decoded file as RGB, or as a mask; the rules are those of `moekit.data.images`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, TiffImagePlugin

from moekit.data.lossy import refuse_lossy, refuse_noise
from moekit.data.mask_frames import refuse_frames
from moekit.data.pictures import bare, strips
from moekit.errors import ImageError

STATED = "the file states its scale"
"""Key in `info` of a picture whose reader has brought its numbers to 16 bits."""
DEEP = "colours of 16 bits"
"""Key in `info` of a picture of whose colours Pillow keeps the upper 8 bits."""

Extremes = tuple[float, float]
"""The least and the greatest value of a picture."""

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
_TIFF_FORMAT, _TIFF_SIGNED = 339, 2


def orientation(image: Image.Image) -> Image.Transpose | None:
    """The turn that the EXIF block asks for, if any."""
    try:
        return _TURNS.get(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # a damaged EXIF block says nothing about the pixels
        return None


def to_mask(image: Image.Image, path: Path) -> Image.Image:
    """A loaded image as one of mode "L": 255 if it is not zero (not black), else 0.

    Raises:
        ImageError: It is, or was, compressed with loss, whose noise is not zero.
    """
    refuse_lossy(image, path)
    numbers = has_numbers(image)
    zero = full_scale(image) if numbers and _tiff_scale(image)[1] else 0
    rgb = image if numbers else to_rgb(image, path)
    mask = Image.new("L", image.size)
    counts = np.zeros(256, np.int64)
    for top, part in strips(rgb):
        values_HW = np.asarray(part) if numbers else np.asarray(part).max(axis=2)
        if not numbers:
            counts += np.bincount(values_HW.ravel(), minlength=256)
        mask.paste(Image.fromarray((values_HW != zero).astype(np.uint8) * 255), (0, top))
    refuse_noise(counts, path)
    refuse_frames(image, path)
    return mask


def to_rgb(
    image: Image.Image, path: Path, *, bits: int | None = None, known: Extremes | None = None
) -> Image.Image:
    """A loaded image in mode "RGB".

    Args:
        image: Marked by `mark_unread` before it was loaded.
        path: What an error names.
        bits: Bits of the numbers of files of more than 8 bits that do not say it themselves; None
            for 16.
        known: Its extremes, if they are known already.

    Raises:
        ImageError: Its values have no brightness, or do not fit into that many bits.
    """
    if image.mode.startswith("I"):
        low, high = known or extremes(image)
        if low < 0 or high > 65535:
            raise _no_scale(path, "integers outside 0..65535", low, high)
        scale = full_scale(image, bits)
        if high > scale:
            raise ImageError(
                f"the image holds the number {high:.0f}, and {bits} bits hold at most {scale}",
                whose=str(path),
                fix=f"adapt with --bits {needed_bits(int(high))}, or save the image as 8 bits",
                code="image/over-bits",
            )
        table = _brightness(scale, _tiff_scale(image)[1])
        return _by_strips(image, lambda part: Image.fromarray(table[np.asarray(part)]))
    if bits is not None and bits < 16 and image.info.get(DEEP):
        raise ImageError(
            f"its colours have 16 bits each, of which the upper 8 are read: numbers of {bits} bits "
            "would lose what they say",
            whose=str(path),
            fix="save it with 8 bits a colour, scaled to full brightness",
            code="image/deep-colours",
        )
    if image.mode == "F":
        low, high = known or extremes(image)
        if not (low >= 0 and high <= 255):  # nan compares false
            found = "floating-point values outside [0, 255] or not finite"
            raise _no_scale(path, found, low, high)
        factor = 255.0 if high <= 1 else 1.0
        inverted = _tiff_scale(image)[1]
        return _by_strips(image, lambda part: _from_floats(np.asarray(part), factor, inverted))
    if image.mode == "L" and _is_signed(image):
        values = np.asarray(image).view(np.int8)
        low, high = float(values.min()), float(values.max())
        raise _no_scale(path, "signed integers of 8 bits", low, high)
    if image.has_transparency_data:
        return _by_strips(image, _over_black)
    return bare(image) if image.mode == "RGB" else image.convert("RGB")


def has_numbers(image: Image.Image) -> bool:
    """Whether a picture holds integers of more than 8 bits, or floats."""
    return image.mode.startswith("I") or image.mode == "F"


def extremes(image: Image.Image) -> Extremes:
    """The least and the greatest value of a picture of one channel; NaN if one is NaN."""
    found = [(part.min(), part.max()) for part in (np.asarray(one) for _, one in strips(image))]
    lows, highs = zip(*found, strict=True)
    return float(np.min(lows)), float(np.max(highs))


def full_scale(image: Image.Image, bits: int | None = None) -> int:
    """The number of full scale of a picture of integers of more than 8 bits; see `to_rgb`."""
    return _tiff_scale(image)[0] if bits is None or states_scale(image) else (1 << bits) - 1


def states_scale(image: Image.Image) -> bool:
    """Whether the file itself says how many bits its numbers have, if 16 is no such word."""
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


def _from_floats(values: np.ndarray, scale: float, inverted: bool) -> Image.Image:
    levels = np.rint(values * scale).astype(np.uint8)
    return Image.fromarray(255 - levels if inverted else levels)


def _is_signed(image: Image.Image) -> bool:
    """Whether Pillow has read negative numbers of a TIFF as if they were large ones."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return False
    return bool(image.tag_v2.get(_TIFF_FORMAT, (1,))[0] == _TIFF_SIGNED)


def _no_scale(path: Path, found: str, low: float, high: float) -> ImageError:
    return ImageError(
        f"the image holds {found} ({low:g} to {high:g}), which have no brightness",
        whose=str(path),
        fix="save it with a brightness scale you choose, as 8-bit or 16-bit integers",
        code="image/no-scale",
    )

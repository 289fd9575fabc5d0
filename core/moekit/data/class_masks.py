"""Masks as class numbers: the value of a pixel, or its colour, looked up in a table.

| in the file | is looked up as |
| --- | --- |
| gray of 1, 2, 4, 8 or 16 bits | the stored number, never scaled; of 1 bit 0 and 1, or 0 and 255 |
| palette | the index, whatever its colour |
| RGB, transparent or not | the colour; equal channels are a number if no colour is listed |
| integers of 32 bits, floats | the number, if all are whole and from 0 to 65535 |
| JPEG, lossy WebP, such compression in TIFF | refused, since it changes values |
| several frames or pages | refused |

Shapes: H and W rows and columns of a mask.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from moekit.data.images import check_mask_size, read_converted, turned_as
from moekit.data.lossy import refuse_lossy, refuse_noise
from moekit.data.mask_frames import refuse_frames
from moekit.data.mask_table import MaskTable
from moekit.errors import ImageError
from moekit.text import few

NOT_ZERO = MaskTable(values={0: 0}, colours={(0, 0, 0): 0}, others=1)
"""What a mask without a table means: every value but zero, every colour but black, is class 1."""

_UNLISTED = -2
_LEVELS = 65536
_PNG_BITS = 24
_SCALE_OF_BITS = {2: 85, 4: 17}
_NAMED = 3


def read_classes(
    path: Path,
    size_hw: tuple[int, int],
    table: MaskTable | None = None,
    *,
    image: Path | None = None,
    max_pixels: int = 100_000_000,
) -> np.ndarray:
    """Reads the class number of every pixel of a mask.

    Args:
        path: An image file without loss, as of `moekit.data.images.read_image`.
        size_hw: (H, W) of the image that it belongs to, upright.
        table: What values and colours mean; None for `NOT_ZERO`.
        image: As of `moekit.data.images.read_mask`.
        max_pixels: As of `read_image`.

    Returns:
        (H, W) int16, `IGNORED` for pixels that do not count.

    Raises:
        ImageError: As of `read_image`; or the mask is compressed with loss, has another size than
            its image, is turned otherwise, or holds values that the table does not list. Those are
            named with their pixel counts.
    """
    table = NOT_ZERO if table is None else table
    raw = read_values(path, image=image, max_pixels=max_pixels)
    check_mask_size((raw.shape[0], raw.shape[1]), size_hw, path)
    if table == NOT_ZERO and raw.dtype == np.uint8:
        refuse_noise(np.bincount(raw.ravel(), minlength=256), path)
    return look_up(raw, table, path)


def read_values(
    path: Path, *, image: Path | None = None, max_pixels: int = 100_000_000
) -> np.ndarray:
    """Reads the stored numbers, or colours, of a mask.

    Returns:
        (H, W) uint8 or int32 numbers, bool of 1-bit files, or (H, W, 3) uint8 colours.

    Raises:
        ImageError: As of `read_classes`.
    """
    (stored,) = read_converted(path, 1, max_pixels, turned_as(image, _stored))
    return np.asarray(stored)


def values_of(content: bytes, path: Path, *, max_pixels: int) -> np.ndarray:
    """As `read_values`, of the bytes of a PNG; `path` is what an error names.

    Raises:
        ImageError: As of `read_values`; or it is no PNG.
    """
    (image,) = read_converted(path, 1, max_pixels, _stored_png, content)
    return np.asarray(image)


def look_up(raw: np.ndarray, table: MaskTable, path: Path) -> np.ndarray:
    """(H, W) int16 class numbers of what `read_values` gives.

    Args:
        raw: As of `read_values`.
        table: What values and colours mean.
        path: What an error names.

    Raises:
        ImageError: A value is not listed.
    """
    if raw.ndim == 3:
        if table.colours or not _is_gray(raw):
            return _by_colour(raw, table, path)
        raw = raw[..., 0]
    if raw.dtype == bool:
        white = 255 if 1 not in table.values and 255 in table.values else 1
        raw = raw * np.uint8(white)
    others = _UNLISTED if table.others is None else table.others
    numbers = np.full(_LEVELS if raw.dtype != np.uint8 else 256, others, dtype=np.int16)
    for value, number in table.values.items():
        if 0 <= value < len(numbers):
            numbers[value] = number
    found: np.ndarray = numbers[raw]
    unlisted = found == _UNLISTED
    if unlisted.any():
        values, counts = np.unique(raw[unlisted], return_counts=True)
        raise _not_listed("value", [str(value) for value in values], counts, path)
    return found


def _by_colour(raw: np.ndarray, table: MaskTable, path: Path) -> np.ndarray:
    others = _UNLISTED if table.others is None else table.others
    packed = _packed(raw)
    listed = sorted((_pack(*colour), number) for colour, number in table.colours.items())
    codes = np.array([code for code, _ in listed] or [-1], dtype=np.int32)
    numbers = np.array([number for _, number in listed] or [others], dtype=np.int16)
    places = np.minimum(np.searchsorted(codes, packed), len(codes) - 1)
    found: np.ndarray = np.where(codes[places] == packed, numbers[places], np.int16(others))
    unlisted = found == _UNLISTED
    if unlisted.any():
        values, counts = np.unique(packed[unlisted], return_counts=True)
        names = [f"({value >> 16}, {value >> 8 & 255}, {value & 255})" for value in values]
        raise _not_listed("colour", names, counts, path)
    return found


def _stored(image: Image.Image, path: Path) -> Image.Image:
    """A loaded image as numbers (mode "1", "L" or "I") or colours ("RGB"), nothing scaled."""
    refuse_lossy(image, path)
    values = _values(image, path)
    refuse_frames(image, path)
    return values


def _values(image: Image.Image, path: Path) -> Image.Image:
    if image.mode in ("1", "RGB"):
        return image.copy()
    if image.mode in ("P", "PA"):
        return Image.fromarray(np.asarray(image.getchannel(0) if image.mode == "PA" else image))
    if image.mode in ("L", "LA"):
        values = np.asarray(image.getchannel(0))
        return Image.fromarray(values // np.uint8(_gray_scale(image, path)))
    if image.mode in ("RGBA", "RGBX"):
        return Image.fromarray(np.ascontiguousarray(np.asarray(image)[..., :3]))
    if image.mode.startswith("I") or image.mode == "F":
        return _whole(np.asarray(image), path)
    raise ImageError(
        f"the mask has the colour mode {image.mode}, which holds no class numbers",
        whose=str(path),
        fix="save it as gray, palette or RGB",
        code="image/mask-values",
    )


def _stored_png(image: Image.Image, path: Path) -> Image.Image:
    if not isinstance(image, PngImagePlugin.PngImageFile):
        raise ImageError(
            "the mask is no PNG",
            whose=str(path),
            fix="save it as a PNG of 8 or 16 bits",
            code="image/mask-values",
        )
    if image.mode in ("L", "LA"):
        return Image.fromarray(np.asarray(image.getchannel(0)))
    return _stored(image, path)


def _gray_scale(image: Image.Image, path: Path) -> int:
    """By how much Pillow has spread the numbers of a PNG of 2 or 4 bits over 0 to 255."""
    if not isinstance(image, PngImagePlugin.PngImageFile):
        return 1
    with path.open("rb") as file:
        return _SCALE_OF_BITS.get(file.read(_PNG_BITS + 1)[_PNG_BITS], 1)


def _whole(values: np.ndarray, path: Path) -> Image.Image:
    # Written so that not-a-number fails it too.
    if not ((values >= 0) & (values < _LEVELS) & (values == np.floor(values))).all():
        raise ImageError(
            "the mask holds numbers that are not whole or lie outside 0..65535",
            whose=str(path),
            fix="save class numbers as 8-bit or 16-bit integers",
            code="image/mask-values",
        )
    return Image.fromarray(values.astype(np.int32))


def _is_gray(raw: np.ndarray) -> bool:
    return bool((raw[..., 0] == raw[..., 1]).all() and (raw[..., 0] == raw[..., 2]).all())


def _packed(raw: np.ndarray) -> np.ndarray:
    red, green, blue = (raw[..., channel].astype(np.int32) for channel in range(3))
    packed: np.ndarray = red << 16 | green << 8 | blue
    return packed


def _pack(red: int, green: int, blue: int) -> int:
    return red << 16 | green << 8 | blue


def _not_listed(what: str, names: list[str], counts: np.ndarray, path: Path) -> ImageError:
    order = np.argsort(-counts, kind="stable")
    told = few([f"{names[place]} ({counts[place]} pixels)" for place in order], _NAMED)
    return ImageError(
        f"the mask holds the {what} {told}, not in the list of classes",
        whose=str(path),
        fix="list it as a class or as ignored, or correct the mask",
        code="image/unknown-class",
    )

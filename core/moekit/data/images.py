"""Reading images from files that nobody vouches for, and finding them in folders.

One file is either an RGB image or an `ImageError` that names it: no other exception and none of
Pillow's warnings leave `read_image`. The rules of conversion:

| in the file | becomes |
| --- | --- |
| 8-bit gray, RGB, palette, 1-bit | the same brightness in RGB |
| CMYK, YCbCr, LAB | RGB by Pillow's own conversion |
| any kind of transparency | composited over black, the colour of no signal |
| 16-bit gray | value / 65535 (12-bit TIFF: / 4095; PGM: / its own maximum), never stretched to the
image's own range; of a run with `--bits N` value / (2^N - 1), and larger numbers are refused |
| 32-bit integer gray | as 16-bit if all values lie in 0..65535, otherwise refused |
| 8-bit signed gray | refused |
| more bands than colours, such as infrared | the colours |
| float gray | as fractions if all lie in [0, 1], as 8-bit if in [0, 255], else refused |
| 16-bit colour | the upper 8 bits |
| several frames or pages | the first; `read_frames` gives all pages of a TIFF |
| EXIF orientation | applied, to masks too; a block that cannot be parsed counts as none |
| ICC profile, EXIF, text | dropped; colours are not converted |

What a rule guesses or leaves out of one file is a remark, see `moekit.data.remarks`.
"""

from __future__ import annotations

import contextlib
import os
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import (
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
)

from moekit.data.conversion import (
    QUARTER_TURNS,
    extremes,
    has_numbers,
    orientation,
    to_mask,
    to_rgb,
)
from moekit.data.jpeg_end import has_end
from moekit.data.made_up import made_up
from moekit.data.mask_turn import refuse_other_turn
from moekit.data.pillow_rules import (
    FORMAT_WORDS,
    FORMATS,
    load_pixels,
    opened_header,
    strict_pillow,
)
from moekit.data.plain_files import check_file, plain
from moekit.data.remarks import Remark, mark_unread, remarks_of
from moekit.data.suffixes import why_unread
from moekit.data.walk import refuse_folder, walk_images
from moekit.errors import ImageError
from moekit.text import visible_name

Convert = Callable[[Image.Image, Path], Image.Image]
Pages = tuple[Image.Image, ...]


def read_image(path: Path, *, max_pixels: int = 100_000_000) -> Image.Image:
    """Reads one image file completely. The content decides the format, not the name.

    Args:
        path: A PNG, JPEG, BMP, TIFF, WebP, GIF, PPM or PGM file.
        max_pixels: Most pixels (width x height) that are decoded; larger images are refused from
            their header only. Pillow's own limit, twice `PIL.Image.MAX_IMAGE_PIXELS`, holds too.

    Returns:
        A fresh image in mode "RGB", upright, without metadata.

    Raises:
        ImageError: The file is missing, empty, a folder, not permitted, not an image of a known
            format, damaged, truncated, of zero size, too large or of values without a scale.
    """
    (image,) = read_frames(path, 1, max_pixels=max_pixels)
    return image


def read_size(path: Path) -> tuple[int, int]:
    """(H, W) of an image as `read_image` gives it, from the header of its file.

    Raises:
        ImageError: The file is missing, empty, a folder, not permitted or no image.
    """
    with _named_errors(path), opened_header(path) as header:
        width, height = header.size
        # Pillow turns the size of a TIFF as it reads the header.
        tiff = isinstance(header, TiffImagePlugin.TiffImageFile)
        turned = not tiff and orientation(header) in QUARTER_TURNS
    return (width, height) if turned else (height, width)


def read_frames(
    path: Path, frames: int, *, bits: int | None = None, max_pixels: int = 100_000_000
) -> tuple[Image.Image, ...]:
    """Reads all frames of a stack, each as `read_image` reads an image.

    Args:
        path: One image if `frames` is 1, else a TIFF file of that many pages of one size. The
            content decides the format, not the name.
        frames: How many frames there must be.
        bits: Bits of the numbers in files of more than 8 bits, if they do not fill 16 and the file
            does not say it; see `Recipe.bits`.
        max_pixels: As of `read_image`, over all frames.

    Returns:
        Fresh images in mode "RGB", in the order of the pages.

    Raises:
        ImageError: As of `read_image`, or the file has another number of pages.
    """
    return read_remarked(path, frames, bits=bits, max_pixels=max_pixels)[0]


def read_remarked(
    path: Path,
    frames: int,
    *,
    bits: int | None = None,
    max_pixels: int = 100_000_000,
    content: bytes | None = None,
) -> tuple[Pages, tuple[Remark, ...]]:
    """As `read_frames`, with what was guessed or left out on the way.

    Bytes that are given as `content` are read in the file's place; `path` then names it in errors.

    Raises:
        ImageError: As of `read_frames`, or a number has more than `bits` bits.
    """
    found: dict[str, Remark] = {}

    def convert(image: Image.Image, path: Path) -> Image.Image:
        known = extremes(image) if has_numbers(image) else None
        upright = to_rgb(image, path, bits=bits, known=known)
        for remark in remarks_of(image, single=frames == 1, bits=bits, known=known):
            found[remark.kind] = max(remark, found.get(remark.kind, remark))
        return upright

    return read_converted(path, frames, max_pixels, convert, content), tuple(found.values())


def read_mask(
    path: Path,
    size_hw: tuple[int, int],
    *,
    image: Path | None = None,
    resized_hw: tuple[int, int] | None = None,
    max_pixels: int = 100_000_000,
) -> np.ndarray:
    """Reads the mask of an image: which of its pixels are positive.

    A pixel is positive if the file's value is not zero; of a colour image, if it is not
    black. A mask is never fitted to an image of another size, since nobody knows how they lie on
    each other; it is scaled only along with its image.

    Args:
        path: An image file without loss, as of `read_image`.
        size_hw: (H, W) of the image that it belongs to, as `read_image` gives it.
        image: The file of that image, whose EXIF orientation must be that of the mask if this has
            one; None to take that for granted.
        resized_hw: (h, w) that the caller has resized the whole image to; the mask is then scaled
            to it by nearest neighbour, in which regions thinner than a new pixel may vanish. None
            for `size_hw`.
        max_pixels: As of `read_image`.

    Returns:
        (H, W), or (h, w), bool.

    Raises:
        ImageError: As of `read_image`, or the mask is compressed with loss, of another size, or
            turned otherwise.
    """
    (mask,) = read_converted(path, 1, max_pixels, turned_as(image, to_mask))
    check_mask_size((mask.height, mask.width), size_hw, path)
    if resized_hw is not None and resized_hw != size_hw:
        mask = mask.resize((resized_hw[1], resized_hw[0]), Image.Resampling.NEAREST)
    positive_HW: np.ndarray = np.asarray(mask) > 0
    return positive_HW


def turned_as(image: Path | None, convert: Convert) -> Convert:
    """A conversion of masks that refuses those that are turned otherwise than their image."""
    if image is None:
        return convert

    def checked(mask: Image.Image, path: Path) -> Image.Image:
        refuse_other_turn(mask, path, image)
        return convert(mask, path)

    return checked


def check_mask_size(mask_hw: tuple[int, int], size_hw: tuple[int, int], path: Path) -> None:
    """Refuses a mask of another size than its image; both (H, W), upright.

    A mask that is drawn on the pixels of a photograph as they are stored, before its EXIF
    orientation turns them, has rows and columns exchanged. It is not turned: which way is not
    known.

    Raises:
        ImageError: The sizes differ.
    """
    if tuple(mask_hw) == tuple(size_hw):
        return
    (mask_height, mask_width), (height, width) = mask_hw, size_hw
    why, fix = "", "give the mask the size of its image, or leave the mask out"
    if (mask_width, mask_height) == (height, width):
        why = (
            ": rows and columns are exchanged, as of a mask that is drawn on a photograph as it is "
            "stored, before its EXIF orientation turns it upright"
        )
        fix = "save image and mask upright, or give the mask the EXIF orientation of its image"
    raise ImageError(
        f"the mask has {mask_width} x {mask_height} pixels, its image {width} x {height}{why}",
        whose=str(path),
        fix=fix,
        code="image/mask-size",
    )


def read_converted(
    path: Path, frames: int, max_pixels: int, convert: Convert, content: bytes | None = None
) -> Pages:
    """Reads as `read_frames`, each page turned into pixels by `convert`, which may raise too."""
    if content is None:
        check_file(path)
    with _named_errors(path), path.open("rb") if content is None else BytesIO(content) as file:
        return _decode(file, path, frames, max_pixels, convert)


@contextlib.contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    """Pillow kept strict, and whatever it raises as an `ImageError` that names the file."""
    try:
        with strict_pillow():
            yield
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(
            why_unread(path) or "the file is not an image, or its header is damaged",
            whose=str(path),
            fix=f"convert it to {FORMAT_WORDS}, restore it, or leave it out",
            code="image/not-an-image",
        ) from error
    except Image.DecompressionBombError as error:
        raise _too_large(path, "more pixels than Pillow opens") from error
    except Exception as error:  # parsers of damaged bytes raise nearly anything
        raise _damaged(path, plain(error)) from error


def find_images(folder: Path) -> list[Path]:
    """Finds the image files below a folder by their names (see `moekit.data.suffixes`).

    Hidden files and folders (a leading dot) and folders that moekit wrote are ignored. Links to
    folders are followed, each real folder once, so a loop of links ends.

    Returns:
        The paths, in the order of their `relative_id`, whatever the file system's own order is.
        A name that leads nowhere (a broken link) is in the list: readers report it.

    Raises:
        DataError: The folder, or one below it, is missing or cannot be listed.
    """
    walked = walk_images(folder, onerror=refuse_folder)
    found = [os.path.join(here, name) for here, name in walked]  # noqa: PTH118
    return [Path(path) for path in sort_below(folder, found)]


def sort_below(folder: Path, paths: Sequence[str]) -> list[str]:
    """Paths of files below a folder, in the order of their `relative_id`."""
    start = os.path.join(folder, "")  # noqa: PTH118
    begin = len(start)
    if all(path.startswith(start) and path[begin:].isascii() for path in paths):
        return sorted(paths)  # each id is what follows the folder, as it stands
    return sorted(paths, key=lambda path: (relative_id(Path(path), folder), path))


def relative_id(path: Path, folder: Path) -> str:
    """A sample id that is the same on every machine: the path below `folder`.

    With forward slashes, in Unicode form NFC (macOS hands out NFD), and with the bytes of a name
    that is not valid text written as escapes (`moekit.text.visible_name`), so that the id can be
    stored as UTF-8.
    """
    return visible_name(unicodedata.normalize("NFC", path.relative_to(folder).as_posix()))


def _decode(file: BinaryIO, path: Path, frames: int, max_pixels: int, convert: Convert) -> Pages:
    with Image.open(file, formats=FORMATS) as header:
        width, height = header.size
        if min(width, height) < 1:
            what = f"the image has no pixels ({width} x {height})"
            raise ImageError(what, whose=str(path), fix="leave it out", code="image/empty")
        if width * height * frames > max_pixels:
            raise _too_large(path, f"{width} x {height} pixels, the limit is {max_pixels:,}")
        if isinstance(header, PngImagePlugin.PngImageFile):
            header.verify()  # decoding alone skips the checksums of the pixel data
    if isinstance(header, JpegImagePlugin.JpegImageFile) and not has_end(file):
        raise _damaged(path, "the marker of its end is missing")
    file.seek(0)
    with Image.open(file, formats=FORMATS) as image:
        if frames > 1:
            return _decode_pages(image, file, path, frames, convert)
        return (_decode_page(image, file, path, convert),)


def _decode_pages(
    image: Image.Image, file: BinaryIO, path: Path, frames: int, convert: Convert
) -> Pages:
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        raise _other_frames(path, f"1 frame, not {frames}")
    pages, size = [], image.size
    for number in range(frames):
        if not _turn_to(image, number):
            raise _other_frames(path, f"{number} frame{'s' * (number > 1)}, not {frames}")
        if image.size != size:
            raise _other_frames(path, "frames of several sizes")
        page = _decode_page(image, file, path, convert)
        # Pillow decodes the next page into the same memory.
        pages.append(page.copy() if page.im is image.im else page)
    if _turn_to(image, frames):
        raise _other_frames(path, f"more than {frames} frames")
    return tuple(pages)


def _turn_to(image: Image.Image, number: int) -> bool:
    """Goes to a page; whether there is one. The pages behind it are not looked for."""
    try:
        image.seek(number)
    except EOFError:
        return False
    return True


def _decode_page(image: Image.Image, file: BinaryIO, path: Path, convert: Convert) -> Image.Image:
    mark_unread(image)
    load_pixels(image)
    missing = made_up(image, file)
    if missing:
        raise _damaged(path, missing)
    upright = convert(image, path)
    turn = orientation(image)
    if turn is not None:
        upright = upright.transpose(turn)
    upright.info = {}
    return upright


def _damaged(path: Path, why: str) -> ImageError:
    return ImageError(
        f"the image is truncated or damaged ({why})",
        whose=str(path),
        fix="copy the file again from its source, or leave it out",
        code="image/damaged",
    )


def _too_large(path: Path, found: str) -> ImageError:
    return ImageError(
        f"the image is too large to decode safely ({found})",
        whose=str(path),
        fix="cut it into tiles or reduce it, then use those",
        code="image/too-large",
    )


def _other_frames(path: Path, found: str) -> ImageError:
    return ImageError(
        f"the file has {found}",
        whose=str(path),
        fix="save the stack as a TIFF of that many pages of one size, or leave it out",
        code="image/frame-count",
    )

"""Readers of picture files: each format, as a picture, a stack, a mask and a mask of classes."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from moekit.data.class_masks import read_classes
from moekit.data.images import read_image, read_mask, read_remarked, read_size
from moekit.errors import ImageError
from tests.benchmarks.fuzzing.reader import Reader, put

FRAMES = 3


def _pixels(*shape: int, kind: Any = np.uint8, most: int = 256) -> np.ndarray:
    return np.random.default_rng(0).integers(0, most, shape).astype(kind)


def _saved(image: Image.Image, form: str, **options: Any) -> bytes:
    made = io.BytesIO()
    image.save(made, form, **options)
    return made.getvalue()


def _png() -> Iterator[bytes]:
    exif = Image.Exif()
    exif[0x0112] = 6
    colour = Image.fromarray(_pixels(20, 24, 3))
    yield _saved(colour, "PNG", exif=exif)
    yield _saved(Image.fromarray(_pixels(20, 24)), "PNG")
    yield _saved(Image.fromarray(_pixels(20, 24, kind=np.uint16, most=65536)), "PNG")
    yield _saved(colour.quantize(8), "PNG", transparency=3)
    yield _saved(Image.fromarray(_pixels(20, 24, 4)), "PNG")
    yield _saved(Image.fromarray(_pixels(20, 24) > 128), "PNG")
    yield _saved(colour, "PNG", save_all=True, append_images=[colour.rotate(90)])


def _jpeg() -> Iterator[bytes]:
    exif = Image.Exif()
    exif[0x0112] = 5
    colour = Image.fromarray(_pixels(24, 32, 3))
    yield _saved(colour, "JPEG", exif=exif)
    yield _saved(colour, "JPEG", progressive=True)
    yield _saved(colour.convert("L"), "JPEG")
    yield _saved(colour.convert("CMYK"), "JPEG")
    yield _saved(colour, "MPO", save_all=True, append_images=[colour])


def _tiff() -> Iterator[bytes]:
    colour = Image.fromarray(_pixels(20, 24, 3))
    for packing in ("raw", "tiff_lzw", "tiff_deflate", "jpeg", "packbits"):
        yield _saved(colour, "TIFF", compression=packing)
    yield _saved(Image.fromarray(_pixels(20, 24, kind=np.uint16, most=4096)), "TIFF")
    yield _saved(Image.fromarray(_pixels(20, 24, kind=np.float32)), "TIFF")
    yield _saved(Image.fromarray(_pixels(20, 24, kind=np.int32)), "TIFF")
    yield _saved(Image.fromarray(_pixels(20, 24) > 128), "TIFF", compression="group4")
    pages = [Image.fromarray(page) for page in _pixels(FRAMES, 20, 24)]
    yield _saved(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    yield _saved(pages[0], "TIFF", save_all=True, append_images=pages[1:], compression="tiff_lzw")


def _gif() -> Iterator[bytes]:
    colour = Image.fromarray(_pixels(20, 24, 3))
    yield _saved(colour, "GIF")
    yield _saved(colour, "GIF", save_all=True, append_images=[colour.rotate(180)] * 2)
    yield _saved(colour.quantize(4), "GIF", transparency=1)


def _webp() -> Iterator[bytes]:
    colour = Image.fromarray(_pixels(20, 24, 3))
    yield _saved(colour, "WEBP")
    yield _saved(colour, "WEBP", lossless=True)
    yield _saved(Image.fromarray(_pixels(20, 24, 4)), "WEBP")
    yield _saved(colour, "WEBP", save_all=True, append_images=[colour.rotate(180)])


def _bmp() -> Iterator[bytes]:
    colour = Image.fromarray(_pixels(20, 24, 3))
    yield _saved(colour, "BMP")
    yield _saved(colour.convert("L"), "BMP")
    yield _saved(colour.convert("P"), "BMP")
    yield _saved(colour.convert("1"), "BMP")


def _ppm() -> Iterator[bytes]:
    colour = Image.fromarray(_pixels(20, 24, 3))
    yield _saved(colour, "PPM")
    yield _saved(colour.convert("L"), "PPM")
    yield _saved(colour.convert("1"), "PPM")
    yield _saved(Image.fromarray(_pixels(20, 24, kind=np.uint16, most=65536)), "PPM")
    yield b"P3\n2 2\n255\n" + b"1 2 3 " * 4
    yield b"P2\n# text\n2 2\n1023\n1 2 3 1023\n"


def _prepare(make: Callable[[], Iterator[bytes]], folder: Path) -> None:
    for number, content in enumerate(make()):
        put(folder, f"{number}.png", content)


def _read(folder: Path, _: Any) -> str:
    """All files: a damaged one is refused by itself, whatever the others are."""
    answers = [_read_one(path) for path in sorted(folder.iterdir())]
    lost = [one for one in answers if one is not None]
    if lost:
        raise lost[0]
    return "read"


def _read_one(path: Path) -> ImageError | None:
    found: ImageError | None = None
    size = None
    try:
        size = read_size(path)
        width, height = read_image(path).size
        assert size == (height, width), "the size of the header is not that of the picture"
    except ImageError as error:
        found = error
    for read in (
        partial(read_remarked, path, 1),
        partial(read_remarked, path, FRAMES),
        partial(read_mask, path, size or (20, 24)),
        partial(read_classes, path, size or (20, 24)),
    ):
        with contextlib.suppress(ImageError):
            read()
    return found


READERS = tuple(
    Reader(name=f"pictures, {name}", prepare=partial(_prepare, make), read=_read)
    for name, make in {
        "PNG": _png,
        "JPEG": _jpeg,
        "TIFF": _tiff,
        "GIF": _gif,
        "WebP": _webp,
        "BMP": _bmp,
        "PPM": _ppm,
    }.items()
)

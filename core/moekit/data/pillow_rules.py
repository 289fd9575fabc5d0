"""Which formats Pillow may read here, and Pillow kept strict while it reads."""

from __future__ import annotations

import contextlib
import re
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

from PIL import (  # each plugin that is imported here adds its format to Image.open
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from moekit.data.plain_files import check_file

FORMATS = tuple(
    plugin.format
    for plugin in (
        PngImagePlugin.PngImageFile,
        JpegImagePlugin.JpegImageFile,
        BmpImagePlugin.BmpImageFile,
        TiffImagePlugin.TiffImageFile,
        WebPImagePlugin.WebPImageFile,
        GifImagePlugin.GifImageFile,
        PpmImagePlugin.PpmImageFile,
    )
    if plugin.format is not None
)
FORMAT_WORDS = "PNG, JPEG, BMP, TIFF, WebP, GIF, PPM or PGM"

_BIG_ENDIAN = re.compile(r"(;(?:16|32|64))B([SF]?)$")
_guard = threading.Lock()
_readers = 0
_restore = contextlib.ExitStack()


@contextlib.contextmanager
def strict_pillow() -> Iterator[None]:
    """Silences Pillow's warnings and makes it refuse truncated files, whatever others have set.

    Both are process-wide, so readers in several threads share one period: the first one in sets
    them, the last one out restores them.
    """
    global _readers
    with _guard:
        if _readers == 0:
            _restore.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", module=r"PIL\.")
            truncated_too = ImageFile.LOAD_TRUNCATED_IMAGES
            _restore.callback(setattr, ImageFile, "LOAD_TRUNCATED_IMAGES", truncated_too)
            ImageFile.LOAD_TRUNCATED_IMAGES = False
        _readers += 1
    try:
        yield
    finally:
        with _guard:
            _readers -= 1
            if _readers == 0:
                _restore.close()


@contextlib.contextmanager
def opened_header(path: Path) -> Iterator[Image.Image]:
    """A picture of which only the header is read so far; Pillow stays strict until the end.

    Raises:
        ImageError: The file is missing, empty, a folder or not permitted; a damaged header raises
            nearly anything.
    """
    check_file(path)
    with strict_pillow(), path.open("rb") as file, Image.open(file, formats=FORMATS) as image:
        yield image


def load_pixels(image: Image.Image) -> None:
    """Decodes a picture, compressed TIFF files of numbers of more than 8 bits in the right order.

    libtiff hands on such numbers in the order of the machine's bytes. Pillow knows it of whole
    numbers of 16 bits without a sign; others of big-endian files it turns once more.
    """
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        image.tile = [
            tile._replace(args=(_BIG_ENDIAN.sub(r"\1N\2", tile.args[0]), *tile.args[1:]))
            if tile.codec_name == "libtiff" and isinstance(tile.args, tuple)
            else tile
            for tile in image.tile
        ]
    image.load()

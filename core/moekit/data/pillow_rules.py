"""Which formats Pillow may read here, and Pillow kept strict while it reads."""

from __future__ import annotations

import contextlib
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

"""The typical size of a set of pictures, from the headers of their files.

Shapes: H and W rows and columns of a picture.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, PngImagePlugin, TiffImagePlugin

from moekit.data.conversion import orientation
from moekit.data.geometry import Size
from moekit.data.pillow_rules import opened_header
from moekit.data.samples import Sample

_QUARTER_TURNS = frozenset(
    {
        Image.Transpose.ROTATE_90,
        Image.Transpose.ROTATE_270,
        Image.Transpose.TRANSPOSE,
        Image.Transpose.TRANSVERSE,
    }
)
_THREADS = 4


def typical_size(samples: Sequence[Sample], *, most: int = 2000) -> Size | None:
    """The size of the picture that has the median aspect ratio.

    No pixel is decoded. Files that cannot be read are left out: readers report them later.

    Args:
        samples: In a fixed order, which decides the result if there are more than `most`.
        most: How many files are opened; of more, as many at equal distances.

    Returns:
        (H, W) upright, or None if no file can be read. Of an even number of pictures it is the
        wider one of the two in the middle.
    """
    count = min(len(samples), most)
    paths = [samples[place * len(samples) // count].path for place in range(count)]
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        sizes = [size for size in pool.map(header_size, paths) if size is not None]
    if not sizes:
        return None
    return sorted(sizes, key=lambda size: (size[0] / size[1], size))[(len(sizes) - 1) // 2]


def header_size(path: Path) -> Size | None:
    """The size of a picture from the header of its file.

    Args:
        path: A file as of `read_image`.

    Returns:
        (H, W) upright, of several pages those of the first; None if the header cannot be read.
    """
    try:
        with opened_header(path) as image:
            width, height = image.size
            turned = _is_to_be_turned(image)
    except Exception:  # parsers of damaged bytes raise nearly anything
        return None
    if min(width, height) < 1:
        return None
    return (width, height) if turned else (height, width)


def _is_to_be_turned(image: Image.Image) -> bool:
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return False  # Pillow has turned its size
    if isinstance(image, PngImagePlugin.PngImageFile) and "exif" not in image.info:
        return False  # Pillow would decode all of it to look for the block behind the pixels
    return orientation(image) in _QUARTER_TURNS

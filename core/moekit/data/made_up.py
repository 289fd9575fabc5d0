"""Pixels that a decoder makes up in the place of coded ones that are lost or damaged.

Formats without checksums decode to something whatever their bytes are, and the decoders tell nobody
what they missed. What can be seen at little cost is looked for:

| format | what is seen |
| --- | --- |
| JPEG | coded pixels that end before the last one, by decoding again with another end |
| WebP, lossy | the coded pixels end with more zeros than any picture has |
| PGM, PPM | numbers beyond the stated maximum, which are cut off |
| TIFF, PackBits | runs that are not exactly the pixels of their strip or tile |
| TIFF, Deflate | a checksum or a code that is wrong |
| TIFF, JPEG | a strip or tile without the marker of its end |
| TIFF, LZW or CCITT | 64 bytes of zeros, which are no codes |

PNG has checksums. Of uncompressed files zeros are black pixels. What is not seen: changed codes of
the same length, JPEG of arithmetic coding, zeros of lossless WebP, which are codes there, and other
damage within TIFF of CCITT compression or lossy WebP.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import BinaryIO

import numpy as np
from PIL import Image, JpegImagePlugin, TiffImagePlugin

from moekit.data.jpeg_scans import jpeg_with_other_end
from moekit.data.packbits import NO_OPERATION, end_of_runs
from moekit.data.pictures import strips
from moekit.data.pnm_values import beyond_maximum

_GREY = range(126, 131)
"""Around the mid-grey that decoders of JPEG give in the place of what is missing."""

_COMPRESSION, _PACKBITS, _DEFLATE = 259, 32773, (8, 32946)
_JPEG, _JPEG_END = 7, b"\xff\xd9"
_NEVER_ZEROS = (2, 3, 4, 5)
"""CCITT of three kinds and LZW: a code has a one after a few zeros, and fill is short."""
_OFFSETS, _LENGTHS = (273, 324), (279, 325)
_WIDTH, _HEIGHT, _ROWS = (256, 322), (257, 323), 278
_BITS, _SAMPLES, _PLANES, _FILL_ORDER = 258, 277, 284, 266
_MANY_ZEROS = 64
_ZEROS_OF_A_BLOCK = 4
"""Bytes of zeros that lossy WebP writes of 16 x 16 pixels at most."""

_PIECE = 2**20
_PADDING = 3
"""Bytes that writers leave behind the runs of a strip."""


def made_up(image: Image.Image, file: BinaryIO) -> str:
    """What of the pixels of a loaded picture is not of its file, in words; empty if that is all.

    Args:
        image: Loaded; of a file of several pages the page that was loaded last.
        file: What it was read from; its place is changed.
    """
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        if (image.info.get("progressive") or _ends_grey(image)) and _is_cut(image, file):
            return "its coded pixels end before its last one"
    elif isinstance(image, TiffImagePlugin.TiffImageFile):
        return _of_tiff(image, file)
    elif image.format == "PPM":
        file.seek(0)
        found = beyond_maximum(file.read())
        if found is not None:
            return f"it holds the number {found[0]}, and its header says at most {found[1]}"
    elif image.format == "WEBP" and _of_webp(image, file):
        return "its coded pixels end with zeros only"
    return ""


def _ends_grey(image: Image.Image) -> bool:
    last = image.getpixel((image.width - 1, image.height - 1))
    return all(value in _GREY for value in (last if isinstance(last, tuple) else (last,)))


def _is_cut(image: Image.Image, file: BinaryIO) -> bool:
    """Whether bytes behind the coded pixels change the picture."""
    file.seek(0)
    content = file.read()
    other = jpeg_with_other_end(content)
    if other is None or other is content:
        return other is None
    with Image.open(BytesIO(other), formats=("JPEG",)) as again:
        again.load()
        pairs = zip(strips(image), strips(again), strict=True)
        return any(
            not np.array_equal(np.asarray(one), np.asarray(two)) for (_, one), (_, two) in pairs
        )


def _of_webp(image: Image.Image, file: BinaryIO) -> bool:
    file.seek(0)
    content = file.read()
    name, coded = next(_pixels_of_webp(content, 12), (b"", b""))
    zeros = len(coded) - len(coded.rstrip(b"\0"))
    usual = math.ceil(image.width / 16) * math.ceil(image.height / 16) * _ZEROS_OF_A_BLOCK
    return name == b"VP8 " and zeros > _MANY_ZEROS + usual


def _pixels_of_webp(content: bytes, at: int) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of coded pixels, and of what kind they are (RFC 9649); frames lie in their own."""
    while at + 8 <= len(content):
        name, size = content[at : at + 4], int.from_bytes(content[at + 4 : at + 8], "little")
        if name == b"ANMF":
            at += 24  # place, size and duration come before the frame's own chunks
            continue
        if name in (b"VP8 ", b"VP8L"):
            yield name, content[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


def _of_tiff(image: TiffImagePlugin.TiffImageFile, file: BinaryIO) -> str:
    compression = image.tag_v2.get(_COMPRESSION, 1)
    if compression not in (*_NEVER_ZEROS, _PACKBITS, *_DEFLATE, _JPEG):
        return ""
    if image.tag_v2.get(_FILL_ORDER, 1) != 1 and compression in (_PACKBITS, *_DEFLATE):
        return ""  # the bits of each byte are turned around; hardly any program writes that
    for number, (offset, length) in enumerate(_parts(image)):
        file.seek(offset)
        coded = file.read(length)
        if compression in _NEVER_ZEROS and bytes(_MANY_ZEROS) in coded:
            return "its coded pixels hold zeros that are no codes"
        if compression == _JPEG and _JPEG_END not in coded:
            return "its coded pixels end before its last one"
        if compression in _DEFLATE and not _inflates(coded):
            return "a checksum of its coded pixels is wrong"
        if compression == _PACKBITS and not any(
            _is_exact(coded, expected) for expected in _part_bytes(image, number)
        ):
            return "its runs are not exactly its pixels"
    return ""


def _parts(image: TiffImagePlugin.TiffImageFile) -> Iterator[tuple[int, int]]:
    """Offset and length of each strip or tile."""
    tags = image.tag_v2
    for offset, length in zip(_OFFSETS, _LENGTHS, strict=True):
        if offset in tags and length in tags:
            yield from zip(tags[offset], tags[length], strict=False)
            return


def _part_bytes(image: TiffImagePlugin.TiffImageFile, number: int) -> tuple[int, ...]:
    """Bytes of the pixels of a strip or tile (TIFF 6.0, sections 3 and 15).

    Of the last strip also those of one that is filled up to the rows of the others.
    """
    tags = image.tag_v2
    bits = tags.get(_BITS, (1,))
    if len(bits) == 1:
        bits = bits * int(tags.get(_SAMPLES, 1))
    depth = int(bits[0] if tags.get(_PLANES, 1) == 2 else sum(bits))
    if _WIDTH[1] in tags:
        return (math.ceil(int(tags[_WIDTH[1]]) * depth / 8) * int(tags[_HEIGHT[1]]),)
    height = int(tags[_HEIGHT[0]])
    rows = min(int(tags.get(_ROWS, height)), height)
    first = number % math.ceil(height / rows) * rows
    line = math.ceil(int(tags[_WIDTH[0]]) * depth / 8)
    return (line * min(rows, height - first), line * rows)


def _inflates(coded: bytes) -> bool:
    """Whether codes are whole and their checksum is right (RFC 1950)."""
    stream = zlib.decompressobj()
    rest = coded
    try:
        while not stream.eof:
            made = stream.decompress(rest, _PIECE)
            rest = stream.unconsumed_tail
            if not made and not rest:
                break
    except zlib.error:
        return False
    return stream.eof


def _is_exact(coded: bytes, expected: int) -> bool:
    """Whether runs are exactly that many bytes, with little behind them."""
    end = end_of_runs(coded, at=0, limit=len(coded), length=expected)
    if end is None:
        return False
    return len(coded[end:].strip(bytes((0, NO_OPERATION)))) <= _PADDING

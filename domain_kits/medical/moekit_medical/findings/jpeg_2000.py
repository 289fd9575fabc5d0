"""JPEG 2000 without comments: of the main header, of each part of a tile, and of a JP2 file.

A codestream (ISO/IEC 15444-1 annex A) has comments in its main header and in the headers of its
tile-parts. DICOM has the codestream only (PS3.5 A.4.4); files that wrap it in the boxes of JP2
(annex I) are met, whose other boxes hold XML, UUIDs and profiles of colours with texts.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

SIGNATURE = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
START = b"\xff\x4f"

_END, _TILE, _DATA = b"\xff\xd9", b"\xff\x90", b"\xff\x93"
_COMMENT, _LENGTHS = b"\xff\x64", b"\xff\x55"
_PART = struct.Struct(">2s2H L 2B")
_CODESTREAM, _HEADER, _COLOUR = b"jp2c", b"jp2h", b"colr"
_KEPT = (b"jP  ", b"ftyp", _HEADER, _CODESTREAM)
_KEPT_OF_HEADER = (b"ihdr", b"bpcc", b"pclr", b"cmap", b"cdef")
_SRGB, _GREY = 16, 17


def without_comments(stream: bytes) -> bytes | None:
    """A codestream, or a JP2 file of one, without texts; None if it cannot be followed."""
    return _file(stream) if stream.startswith(SIGNATURE) else _codestream(stream)


def _codestream(stream: bytes) -> bytes | None:
    header, at = _header(stream, 2, (_TILE,))
    if header is None:
        return None
    kept: list[bytes] = []
    is_shorter = False
    while stream[at : at + 2] == _TILE:
        part = _tile_part(stream, at)
        if part is None:
            return None
        clean, after = part
        is_shorter = is_shorter or len(clean) < after - at
        kept.append(clean)
        at = after
    if stream[at : at + 2] != _END:
        return None
    if is_shorter:  # the table of their lengths is optional, and would be wrong
        header = [segment for segment in header if not segment.startswith(_LENGTHS)]
    return START + b"".join(header) + b"".join(kept) + _END


def _header(
    stream: bytes, at: int, ends: tuple[bytes, ...], limit: int | None = None
) -> tuple[list[bytes] | None, int]:
    """The segments of a header but comments, and where it ends: at one of the markers given."""
    limit = len(stream) if limit is None else limit
    kept: list[bytes] = []
    while at + 4 <= limit:
        marker = stream[at : at + 2]
        if marker in ends:
            return kept, at
        after = at + 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
        if marker[0] != 0xFF or after < at + 4 or after > limit:
            return None, at
        if marker != _COMMENT:
            kept.append(stream[at:after])
        at = after
    return (kept, at) if stream[at : at + 2] in ends and at + 2 <= limit else (None, at)


def _tile_part(stream: bytes, at: int) -> tuple[bytes, int] | None:
    """A tile-part without comments, and where it ends in the stream.

    Its length may be 0 if it is the last one (A.4.2): it then ends at the end of the codestream.
    """
    if at + _PART.size > len(stream):
        return None
    marker, size, tile, length, part, parts = _PART.unpack_from(stream, at)
    after = at + length if length else stream.rfind(_END)
    if size != _PART.size - 2 or after > len(stream):
        return None
    header, begin = _header(stream, at + _PART.size, (_DATA,), after)
    if header is None:
        return None
    content = b"".join(header) + stream[begin:after]
    written = _PART.size + len(content) if length else 0
    return _PART.pack(marker, size, tile, written, part, parts) + content, after


def _file(stream: bytes) -> bytes | None:
    """A JP2 file of what its pixels need; a profile of colours gives way to a named space."""
    kept: list[bytes] = []
    for name, content in _boxes(stream):
        if name == _CODESTREAM:
            clean = _codestream(content)
            if clean is None:
                return None
            return b"".join([*kept, _box(name, clean)])
        if name == _HEADER:
            content = _clean_header(content)
        if name in _KEPT:
            kept.append(_box(name, content))
    return None


def _clean_header(content: bytes) -> bytes:
    inner = list(_boxes(content))
    image = next((one for name, one in inner if name == b"ihdr"), b"")
    is_grey = int.from_bytes(image[8:10], "big") < 3 and not any(n == b"pclr" for n, _ in inner)
    named = struct.pack(">3B L", 1, 0, 0, _GREY if is_grey else _SRGB)
    kept = [
        _box(name, (one if one[:1] == b"\x01" else named)[: len(named)])
        if name == _COLOUR
        else _box(name, one)
        for name, one in inner
        if name in (*_KEPT_OF_HEADER, _COLOUR)
    ]
    return b"".join(kept)


def _boxes(stream: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and content of each box (I.4), as far as they can be followed."""
    at = 0
    while at + 8 <= len(stream):
        length, begin = int.from_bytes(stream[at : at + 4], "big"), at + 8
        if length == 1:
            length, begin = int.from_bytes(stream[at + 8 : at + 16], "big"), at + 16
        end = at + length if length else len(stream)
        if end < begin or end > len(stream):
            return
        yield stream[at + 4 : at + 8], stream[begin:end]
        at = end


def _box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">L", 8 + len(content)) + name + content

"""Draws damage of bytes, and of the parts of picture files, whose checksums stay right."""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

Draw = Callable[[st.SearchStrategy[Any]], Any]

_FORMS = ("<b", "<H", ">H", "<I", ">I", "<Q", ">Q", "<f", "<d")
_NUMBERS = (0, 1, 2, 127, 128, 255, 256, 32767, 32768, 65535, 2**31 - 1, 2**31, 2**32 - 1)
_MOST = 200_000


def place(draw: Draw, content: bytes) -> int:
    """A place in bytes, half of the time near the beginning."""
    near = min(len(content), 400) if draw(st.booleans()) else len(content)
    return int(draw(st.integers(0, near)))


def damaged(draw: Draw, content: bytes) -> bytes:
    """Bytes with one to three faults."""
    for _ in range(draw(st.integers(1, 3))):
        content = draw(st.sampled_from(_FAULTS))(draw, content)
    return content[:_MOST]


def _byte(draw: Draw, content: bytes) -> bytes:
    at = place(draw, content)
    return content[:at] + bytes([draw(st.integers(0, 255))]) + content[at + 1 :]


def number_bytes(draw: Draw) -> bytes:
    """A number at the edge of a type, in some type and byte order."""
    form = draw(st.sampled_from(_FORMS))
    if form in ("<f", "<d"):
        value = draw(st.sampled_from([0.0, -1.0, 1e38, -1e38, float("nan"), float("inf")]))
        return struct.pack(form, value)
    size = struct.calcsize(form)
    value = draw(st.sampled_from(_NUMBERS)) % 256**size
    return int(value).to_bytes(size, "little" if form[0] == "<" else "big")


def _number(draw: Draw, content: bytes) -> bytes:
    at, new = place(draw, content), number_bytes(draw)
    return content[:at] + new + content[at + len(new) :]


def _cut(draw: Draw, content: bytes) -> bytes:
    return content[: place(draw, content)]


def _drop(draw: Draw, content: bytes) -> bytes:
    at = place(draw, content)
    return content[:at] + content[at + draw(st.integers(1, 64)) :]


def _repeat(draw: Draw, content: bytes) -> bytes:
    at, length = place(draw, content), draw(st.integers(1, 64))
    return content[:at] + content[at : at + length] * draw(st.integers(2, 9)) + content[at:]


def _insert(draw: Draw, content: bytes) -> bytes:
    at = place(draw, content)
    return content[:at] + draw(st.binary(max_size=32)) + content[at:]


def _move(draw: Draw, content: bytes) -> bytes:
    start, end, length = place(draw, content), place(draw, content), draw(st.integers(1, 64))
    piece = content[start : start + length]
    return content[:end] + piece + content[end + len(piece) :]


_FAULTS = (_byte, _byte, _number, _number, _cut, _drop, _repeat, _insert, _move)


def picture(draw: Draw, content: bytes) -> bytes:
    """A picture file with damage in one of its parts, or anywhere."""
    if draw(st.booleans()):
        return damaged(draw, content)
    if content.startswith(b"\x89PNG"):
        return _png(draw, content)
    if content.startswith(b"\xff\xd8"):
        return _jpeg(draw, content)
    if content[:4] in (b"II*\0", b"MM\0*"):
        return _tiff(draw, content)
    return damaged(draw, content[:64]) + content[64:]


def _png(draw: Draw, content: bytes) -> bytes:
    chunks, at = [], 8
    while at + 8 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += length + 12
    which = draw(st.integers(0, max(0, len(chunks) - 1)))
    new = []
    for number, (kind, data) in enumerate(chunks):
        if number == which:
            how = draw(st.integers(0, 5))
            if how == 0:
                continue
            if how == 1:
                kinds = [b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"iCCP", b"PLTE", b"tRNS", b"fcTL"]
                kind = draw(st.sampled_from(kinds))
            elif how == 2:
                new.append((kind, data))
            elif kind == b"IDAT" and how == 3:
                with contextlib.suppress(zlib.error):
                    data = zlib.compress(damaged(draw, zlib.decompress(data)))
            else:
                data = damaged(draw, data)
        new.append((kind, data))
    return content[:8] + b"".join(
        len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
        for kind, data in new
    )


def _jpeg(draw: Draw, content: bytes) -> bytes:
    segments, at = [], 2
    while at + 4 <= len(content) and content[at] == 0xFF and content[at + 1] != 0xDA:
        length = int.from_bytes(content[at + 2 : at + 4], "big")
        segments.append((content[at + 1], content[at + 4 : at + 2 + length]))
        at += 2 + length
    which = draw(st.integers(0, max(0, len(segments) - 1)))
    made = content[:2]
    for number, (mark, data) in enumerate(segments):
        if number == which:
            data = damaged(draw, data)[:65000]
            if draw(st.integers(0, 4)) == 0:
                mark = draw(st.sampled_from([0xC0, 0xC2, 0xC4, 0xDB, 0xDD, 0xE1, 0xE2, 0xEE, 0xFE]))
        made += bytes([0xFF, mark]) + (len(data) + 2).to_bytes(2, "big") + data
    return made + content[at:]


def _tiff(draw: Draw, content: bytes) -> bytes:
    order = "<" if content[:2] == b"II" else ">"
    (first,) = struct.unpack_from(f"{order}I", content, 4)
    if first + 2 > len(content):
        return damaged(draw, content)
    (count,) = struct.unpack_from(f"{order}H", content, first)
    at = first + 2 + 12 * draw(st.integers(0, max(0, count - 1)))
    if at + 12 > len(content):
        return damaged(draw, content)
    tag, kind, number, value = struct.unpack_from(f"{order}HHII", content, at)
    edge = st.sampled_from(_NUMBERS)
    how = draw(st.sampled_from(["tag", "kind", "number", "value", "value"]))
    if how == "tag":
        tag = draw(st.sampled_from([256, 257, 258, 259, 262, 273, 277, 278, 279, 317, 320, 338]))
    elif how == "kind":
        kind = draw(st.integers(0, 20))
    elif how == "number":
        number = draw(edge)
    else:
        value = draw(edge | st.integers(0, 40) | st.sampled_from([32773, 32946, 34712, 50001]))
    return content[:at] + struct.pack(f"{order}HHII", tag, kind, number, value) + content[at + 12 :]

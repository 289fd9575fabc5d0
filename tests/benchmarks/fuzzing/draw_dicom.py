"""Draws damaged DICOM files: elements changed one by one, lengths kept right or made wrong."""

from __future__ import annotations

import struct
from typing import NamedTuple

from hypothesis import strategies as st

from tests.benchmarks.fuzzing.draw_bytes import Draw, damaged
from tests.benchmarks.fuzzing.draw_text import encoded, words

_LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
_KINDS = (*_LONG, b"AS", b"AT", b"CS", b"DA", b"DS", b"FD", b"FL", b"IS", b"LO", b"PN", b"SH")
_KINDS += (b"SL", b"SS", b"TM", b"UI", b"UL", b"US", b"zz", b"\0\0")
_START = 132
_ENDLESS = 0xFFFFFFFF
_TEXTS = (
    *(b"", b"\\", b"\\\\\\", b"0", b"-1", b"1\\2\\3", b"nan", b"inf\\inf", b"1e400", b"1e-400"),
    *(b"9" * 64, b"1.2.3", b"1." * 40, b"ISO 2022 IR 87", b"GB18030", b"bad", b"\xff\xfe\0"),
    *(b"CT", b"MR", b"MONOCHROME1", b"RGB", b"PALETTE COLOR", b"DERIVED\\SECONDARY", b"HU", b"US"),
    *(b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.1", b"1.2.840.10008.1.2.1.99"),
    *(b"1.2.840.10008.1.2.2", b"1.2.840.10008.1.2.4.50", b"1.2.840.10008.1.2.4.70"),
    *(b"1.2.840.10008.1.2.4.90", b"1.2.840.10008.1.2.5", b"1.2.840.10008.5.1.4.1.1.2.1"),
    *(b"1.2.840.10008.5.1.4.1.1.4", b"1.2.840.10008.1.3.10", b"1\\0\\0\\0\\1\\0", b"0\\0\\0"),
)


class Element(NamedTuple):
    """An element of an explicit little-endian data set."""

    tag: bytes
    kind: bytes
    value: bytes


def dicom(draw: Draw, content: bytes) -> bytes:
    """A file with elements changed, or damaged bytes."""
    if draw(st.integers(0, 4)) == 0 or content[128:_START] != b"DICM":
        return damaged(draw, content)
    elements = parse(content[_START:])
    for _ in range(draw(st.integers(1, 2))):
        elements = _changed(draw, elements)
    made = content[:_START] + join(elements)
    return damaged(draw, made) if draw(st.integers(0, 9)) == 0 else made


def parse(content: bytes) -> list[Element]:
    """The elements; what cannot be parsed is one element without a tag."""
    found, at = [], 0
    while at + 8 <= len(content):
        tag, kind = content[at : at + 4], content[at + 4 : at + 6]
        if not kind.isalpha():
            break
        if kind in _LONG:
            (length,) = struct.unpack_from("<I", content, at + 8)
            start = at + 12
        else:
            (length,) = struct.unpack_from("<H", content, at + 6)
            start = at + 8
        if length == _ENDLESS:
            break
        found.append(Element(tag, kind, content[start : start + length]))
        at = start + length
    return [*found, Element(b"", b"", content[at:])] if at < len(content) else found


def join(elements: list[Element]) -> bytes:
    """The bytes of elements."""
    made = b""
    for tag, kind, value in elements:
        if not tag:
            made += value
        elif kind in _LONG:
            made += tag + kind + b"\0\0" + struct.pack("<I", len(value)) + value
        else:
            made += tag + kind + struct.pack("<H", len(value) % 65536) + value
    return made


def _changed(draw: Draw, elements: list[Element]) -> list[Element]:
    if not elements:
        return elements
    at = draw(st.integers(0, len(elements) - 1))
    one = elements[at]
    how = draw(st.sampled_from(["value"] * 6 + ["drop", "twice", "kind", "length", "swap", "tag"]))
    if how == "drop":
        return [*elements[:at], *elements[at + 1 :]]
    if how == "twice":
        again = one._replace(value=_value(draw, one)) if draw(st.booleans()) else one
        return [*elements[:at], one, again, *elements[at + 1 :]]
    if how == "swap":
        other = draw(st.integers(0, len(elements) - 1))
        mixed = list(elements)
        mixed[at], mixed[other] = mixed[other], mixed[at]
        return mixed
    if how == "kind":
        new = one._replace(kind=draw(st.sampled_from(_KINDS)))
    elif how == "tag":
        new = one._replace(tag=draw(st.binary(min_size=4, max_size=4)))
    elif how == "length":
        size = draw(st.sampled_from([0, 1, len(one.value) + 2, 0xFFFE, 2**31, _ENDLESS]))
        room, width = (b"\0\0", 4) if one.kind in _LONG else (b"", 2)
        head = (size % 256**width).to_bytes(width, "little")
        new = Element(b"", b"", one.tag + one.kind + room + head + one.value)
    else:
        new = one._replace(value=_value(draw, one))
    return [*elements[:at], new, *elements[at + 1 :]]


def _value(draw: Draw, one: Element) -> bytes:
    if one.kind == b"SQ" and draw(st.integers(0, 4)):
        return _items(draw, one.value)
    if one.kind in (b"US", b"SS", b"UL", b"SL", b"FD", b"FL", b"AT"):
        numbers = [0, 1, 2, 8, 12, 15, 16, 17, 32, 255, 4096, 32767, 65535]
        size = 2 if one.kind in (b"US", b"SS") else 4
        several = draw(st.lists(st.sampled_from(numbers), min_size=0, max_size=3))
        return b"".join(number.to_bytes(size, "little") for number in several)
    if one.kind in (b"OB", b"OW", b"UN", b"OF"):
        return damaged(draw, one.value)
    value = draw(st.sampled_from(_TEXTS)) if draw(st.integers(0, 3)) else encoded(words(draw))
    value = value[:60_000]
    return value + b" " * (len(value) % 2)


def _items(draw: Draw, content: bytes) -> bytes:
    """The items of a sequence with one of them changed."""
    items, at = [], 0
    while at + 8 <= len(content) and content[at : at + 4] == b"\xfe\xff\x00\xe0":
        (length,) = struct.unpack_from("<I", content, at + 4)
        if length == _ENDLESS:
            return damaged(draw, content)
        items.append(content[at + 8 : at + 8 + length])
        at += 8 + length
    if not items:
        return damaged(draw, content)
    which = draw(st.integers(0, len(items) - 1))
    how = draw(st.integers(0, 6))
    if how == 0:
        del items[which]
    elif how == 1:
        items[which : which + 1] = [items[which]] * draw(st.sampled_from([2, 50]))
    elif how == 2 and len(content) < 10_000:
        nested = content
        for _ in range(draw(st.sampled_from([3, 400]))):
            inner = b"\x40\x00\x00\xa1" + b"SQ\0\0" + struct.pack("<I", len(nested)) + nested
            nested = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(inner)) + inner
        return nested
    else:
        items[which] = join(_changed(draw, parse(items[which])))
    return b"".join(b"\xfe\xff\x00\xe0" + struct.pack("<I", len(item)) + item for item in items)

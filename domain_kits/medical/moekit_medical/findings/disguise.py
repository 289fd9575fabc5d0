"""Texts in places where numbers or tags belong.

A value whose declared length is wrong swallows the elements that follow it, and some programs keep
comments in numeric attributes. Such a value is not what the standard says it is: it has more parts
than the attribute may have, names tags that are none, or reads as text.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence

from pydicom.datadict import dictionary_has_tag, dictionary_VM
from pydicom.dataelem import DataElement
from pydicom.multival import MultiValue
from pydicom.tag import Tag

_CODES = {
    "AT": "L",
    "FD": "d",
    "FL": "f",
    "SL": "l",
    "SS": "h",
    "SV": "q",
    "UL": "L",
    "US": "H",
    "UV": "Q",
}
_LEAST_BYTES = 8
_TEXT = re.compile(rb"[A-Za-z0-9 ^.,:;/_=@()'+!?#&*%\-\\\r\n\t\0]+")
_WORD = re.compile(rb"[A-Za-z^]{3}")


def hides_text(element: DataElement) -> bool:
    """Whether a value can be something else than its attribute says.

    Args:
        element: Of the dictionary; its kind of value may be another one than there.
    """
    values = _values(element.value)
    if len(values) > _most_values(element):
        return True
    if element.VR == "AT" and not all(_is_known(value) for value in values):
        return True
    if isinstance(element.value, bytes):
        return element.VR in _CODES and _reads_as_text(element.value)
    return any(_reads_as_text(data) for data in _encoded(element.VR, values))


def _values(value: object) -> Sequence[object]:
    if isinstance(value, (MultiValue, list, tuple)):
        return value
    return [] if value is None else [value]


def _most_values(element: DataElement) -> float:
    """The upper end of the attribute's value multiplicity (PS3.6 chapter 5)."""
    most = dictionary_VM(element.tag).rpartition("-")[2]
    return int(most) if most.isdigit() else float("inf")


def _is_known(value: object) -> bool:
    """Whether a tag is one of the standard, or of private data that go anyway."""
    try:
        tag = Tag(int(value)) if isinstance(value, int) else Tag(str(value))
    except (TypeError, ValueError, OverflowError):
        return False
    return dictionary_has_tag(tag)


def _encoded(vr: str, values: Sequence[object]) -> list[bytes]:
    """The bytes of numbers in either byte order; none of other values."""
    code = _CODES.get(vr)
    if code is None or not values:
        return []
    encoded = []
    for order in "<>":
        try:
            encoded.append(struct.pack(f"{order}{len(values)}{code}", *values))
        except (struct.error, TypeError, OverflowError):
            continue
    return encoded


def _reads_as_text(data: bytes) -> bool:
    return (
        len(data) >= _LEAST_BYTES
        and _TEXT.fullmatch(data) is not None
        and _WORD.search(data) is not None
    )

"""Whether a JPEG file was written to its end, which the decoder does not ask.

A file of which the last part is zeros, as an interrupted copy or download leaves it, decodes to a
picture whose lower part is made up: zeros are valid codes. The marker of the end is missing then
(ITU-T T.81, annex B).
"""

from __future__ import annotations

import os
from typing import BinaryIO

_END = b"\xff\xd9"
_SCAN, _FILL = 0xDA, 0xFF
_USUAL = 4096
"""Bytes before a file's end in which the marker nearly always stands."""


def has_end(file: BinaryIO) -> bool:
    """Whether the marker of the end comes after the beginning of the pixels.

    True as well for what has no such beginning, of which the decoder knows what is wrong.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _USUAL))
    if size > _USUAL and _END in file.read():
        return True
    file.seek(0)
    content = file.read()
    begin = _first_scan(content)
    return begin is None or content.find(_END, begin) >= 0


def _first_scan(content: bytes) -> int | None:
    """Where the first scan begins; None if what stands before it cannot be followed."""
    place = 2
    while place + 4 <= len(content) and content[place] == _FILL:
        kind = content[place + 1]
        if kind == _FILL:
            place += 1
        elif kind == _SCAN:
            return place
        else:
            place += 2 + int.from_bytes(content[place + 2 : place + 4], "big")
    return None

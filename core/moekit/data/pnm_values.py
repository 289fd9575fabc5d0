"""Binary PGM and PPM files that hold greater numbers than their header says."""

from __future__ import annotations

import re

import numpy as np

_HEADER = re.compile(rb"P([56])" + rb"(?:\s|#[^\r\n]*[\r\n])+(\d+)" * 3 + rb"\s")
_OF_KIND = {b"5": 1, b"6": 3}
_BYTE = 255


def beyond_maximum(content: bytes) -> tuple[int, int] | None:
    """The greatest number and the stated maximum, if that is less; None if all numbers fit.

    The decoder scales numbers by the maximum and cuts off what is more (netpbm's PGM and PPM).
    """
    header = _HEADER.match(content)
    if header is None:
        return None
    width, height, most = (int(header[place]) for place in (2, 3, 4))
    count = width * height * _OF_KIND[header[1]]
    kind = np.dtype("u1" if most <= _BYTE else ">u2")
    stored = np.frombuffer(content[header.end() :][: count * kind.itemsize], kind)
    greatest = int(stored.max(initial=0))
    return (greatest, most) if greatest > most else None

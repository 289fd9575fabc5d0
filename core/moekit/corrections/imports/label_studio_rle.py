"""Brush masks of Label Studio: run lengths of bits, as thi.ng's rle-pack writes them.

A header of 32 bits holds the number of values, 5 the bits of a value less 1, and four times 4 the
bits of each length less 1. Then come packets: a bit says whether one value is repeated, two bits
which of the four lengths follows, the length less 1, and one value or that many.

Shapes: H and W rows and columns of the image.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

CHANNELS = 4


class _Bits:
    """Reads whole numbers of some bits, the highest first."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    def read(self, count: int) -> int:
        """The next number.

        Raises:
            ValueError: Too few bits are left.
        """
        first, last = self._at, self._at + count
        if last > 8 * len(self._content):
            raise ValueError("it is cut off")
        part = int.from_bytes(self._content[first // 8 : (last + 7) // 8], "big")
        self._at = last
        return (part >> (-last % 8)) & ((1 << count) - 1)


def decode_brush(numbers: Sequence[int], size: tuple[int, int]) -> np.ndarray:
    """(H, W, 4) uint8 red, green, blue and alpha of a mask.

    Args:
        numbers: Bytes, as the export lists them.
        size: (H, W) of the image.

    Raises:
        ValueError: They are damaged, or of an image of another size.
        TypeError: They are no bytes.
    """
    bits = _Bits(bytes(numbers))
    total = bits.read(32)
    if total != size[0] * size[1] * CHANNELS:
        raise ValueError("another size")
    width = bits.read(5) + 1
    lengths = [bits.read(4) + 1 for _ in range(4)]
    values = np.zeros(total, dtype=np.uint8)
    at = 0
    while at < total:
        repeated = bits.read(1)
        end = at + 1 + bits.read(lengths[bits.read(2)])
        if end > total:
            raise ValueError("a run leaves the image")
        if repeated:
            values[at:end] = bits.read(width) & 255
        else:
            values[at:end] = [bits.read(width) & 255 for _ in range(end - at)]
        at = end
    return values.reshape(*size, CHANNELS)

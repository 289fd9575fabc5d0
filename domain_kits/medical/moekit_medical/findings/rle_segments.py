"""Frames of DICOM's run-length encoding (PS3.5 annex G) without what no decoder reads.

A frame begins with a table of 15 offsets, of which those without a segment are 0. Each segment is
one byte of each pixel. What follows the last run of a segment, lies between segments or stands in
unused places of the table is no pixel.
"""

from __future__ import annotations

import struct

from moekit.data import end_of_runs

_TABLE = struct.Struct("<16L")


def only_pixels(frame: bytes, *, segments: int, pixels: int) -> bytes | None:
    """A frame of its runs only.

    Args:
        frame: As the file has it.
        segments: Samples of a pixel times their bytes.
        pixels: Rows times columns.

    Returns:
        The frame; None if its segments are others or cannot be followed to their last pixel.
    """
    if len(frame) < _TABLE.size:
        return None
    count, *offsets = _TABLE.unpack_from(frame)
    if count != segments or not 0 < segments <= len(offsets):
        return None
    begins = offsets[:segments]
    if begins != sorted(begins) or begins[0] < _TABLE.size or begins[-1] > len(frame):
        return None
    kept: list[bytes] = []
    for begin, limit in zip(begins, [*begins[1:], len(frame)], strict=True):
        end = end_of_runs(frame, at=begin, limit=limit, length=pixels)
        if end is None:
            return None
        even = bytes((end - begin) % 2 and end < limit)
        kept.append(frame[begin:end] + even)
    places, place = [], _TABLE.size
    for segment in kept:
        places.append(place)
        place += len(segment)
    places += [0] * (len(offsets) - len(places))
    return _TABLE.pack(count, *places) + b"".join(kept)

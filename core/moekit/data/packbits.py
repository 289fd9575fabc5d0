"""Runs of PackBits, of which TIFF and other formats are made."""

from __future__ import annotations

NO_OPERATION = 128
"""A byte that stands for nothing."""


def end_of_runs(coded: bytes, *, at: int, limit: int, length: int) -> int | None:
    """Where runs end that hold exactly that many bytes (TIFF 6.0, section 9).

    Args:
        coded: Holds the runs.
        at: Where the first one begins.
        limit: Where they end at the latest.
        length: Bytes that they stand for.

    Returns:
        The place behind the last run; None if they hold more, or fewer up to the limit.
    """
    left = length
    while left > 0:
        if at >= limit:
            return None
        head = coded[at]
        if head < NO_OPERATION:
            left -= head + 1
            at += head + 2
        elif head > NO_OPERATION:
            left -= 257 - head
            at += 2
        else:
            at += 1
    return at if left == 0 and at <= limit else None

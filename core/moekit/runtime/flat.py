"""Windows without texture, of which one of each colour is computed.

A large picture may hold much that is empty: the border of a scan, a masked background. Such windows
look alike, so one of them answers for all. Windows of one colour have the same answer to the bit;
with a tolerance those count as alike whose colours round to the same step.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import cast

from moekit.data.geometry import Box
from moekit.data.stream import Stack, cropped


def alike(stack: Stack, boxes: Sequence[Box], *, tolerance: int) -> dict[int, int]:
    """For windows that take the answer of another one, its place; both by their place in `boxes`.

    Args:
        stack: The RGB picture, or the frames of a stack, which must all be flat.
        boxes: The windows.
        tolerance: How much the channels of a flat window vary at most, of 255 levels.
    """
    first: dict[Hashable, int] = {}
    found: dict[int, int] = {}
    for place, box in enumerate(boxes):
        colour = _colour(stack, box, tolerance)
        if colour is None:
            continue
        known = first.setdefault((colour, box.height, box.width), place)
        if known != place:
            found[place] = known
    return found


def _colour(stack: Stack, box: Box, tolerance: int) -> tuple[int, ...] | None:
    """The middle of the levels of each channel, in steps of the tolerance; None if not flat."""
    levels: list[int] = []
    for frame in cropped(stack, box):
        for low, high in cast(Sequence[tuple[int, int]], frame.getextrema()):
            if high - low > tolerance:
                return None
            levels.append((low + high) // 2 // (tolerance + 1))
    return tuple(levels)

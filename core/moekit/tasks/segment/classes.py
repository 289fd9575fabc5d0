"""Which classes are background, and the colours of classes.

Shapes: C classes.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from moekit.contract.answers import TaskContext
from moekit.errors import DataError

BACKGROUND = "background"
"""The option by which a kit names the background: names or numbers of classes; () for none."""

# Okabe and Ito 2008, "Color Universal Design"; gray first, since class 0 mostly is the background.
_FIRST = (
    *((153, 153, 153), (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66)),
    *((0, 114, 178), (213, 94, 0), (204, 121, 167)),
)
_TABLE_LENGTH = 256


def background_of(context: TaskContext) -> tuple[int, ...]:
    """Numbers of the classes that are background: class 0 unless the kit's options say otherwise.

    Raises:
        DataError: The option names a class that the data do not have.
    """
    given = context.options.get(BACKGROUND, (0,))
    named = (given,) if isinstance(given, str | int) else tuple(given)
    numbers = []
    for one in named:
        if isinstance(one, str) and one in context.classes:
            numbers.append(context.classes.index(one))
        elif isinstance(one, int) and 0 <= one < len(context.classes):
            numbers.append(one)
        else:
            raise DataError(
                f"the background {one!r} is none of the classes {', '.join(context.classes)}",
                whose=f"the kit's option {BACKGROUND!r}",
                fix="use data with that class, or another kit",
                code="data/unknown-class",
            )
    return tuple(sorted(set(numbers)))


def foreground_share(pixels: np.ndarray, background: Sequence[int]) -> np.ndarray:
    """(...) float64 in [0, 1], the share of pixels that is no background.

    Args:
        pixels: (..., C) counts; their sum is not 0.
        background: Numbers of classes.
    """
    total = pixels.sum(-1)
    share: np.ndarray = 1 - pixels[..., list(background)].sum(-1) / np.maximum(total, 1)
    return share


def palette(count: int) -> np.ndarray:
    """(count, 3) uint8 distinct colours, the same for a class number in every picture.

    The first eight differ for any kind of colour vision (Okabe and Ito 2008). Each further
    one is, of a grid of colours, the one farthest from all before it; once the grid is used up,
    colours come again.
    """
    table = _table()
    return table[np.arange(count) % len(table)]


@functools.cache
def _table() -> np.ndarray:
    """(256, 3) uint8."""
    levels = np.linspace(30, 240, 8)
    grid = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 3)
    chosen = [np.array(colour, dtype=np.float64) for colour in _FIRST]
    distance = np.min([np.abs(grid - colour).sum(1) for colour in chosen], axis=0)
    while len(chosen) < _TABLE_LENGTH:
        colour = grid[int(distance.argmax())]
        chosen.append(colour)
        distance = np.minimum(distance, np.abs(grid - colour).sum(1))
    table = np.array(chosen).astype(np.uint8)
    table.flags.writeable = False
    return table

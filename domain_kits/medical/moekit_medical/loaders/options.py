"""Values of the options that loaders of volumes take (`?window=LOW,HIGH&slices=T`)."""

from __future__ import annotations

import math

from moekit import DataError
from moekit.data import whole_number

MOST_SLICES = 63
"""More slices than this are no neighbourhood."""

HU_LIMIT = 32768
"""Windows must lie within plus and minus this: CT values fit 16 bits."""


def parse_window(text: str | None, *, default: tuple[float, float]) -> tuple[float, float]:
    """The window `LOW,HIGH` in HU.

    Raises:
        DataError: It is not two numbers, the lower first.
    """
    if text is None:
        return default
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low, high = math.nan, math.nan
    if not -HU_LIMIT <= low < high <= HU_LIMIT:  # not a number compares false
        raise DataError(
            "the window is not two numbers of HU, the lower first",
            whose="the option window",
            fix="write it as in ?window=-1000,400",
            code="data/bad-option",
        )
    return low, high


def parse_slices(text: str | None) -> int:
    """How many slices a sample has; 1 if nothing is said.

    Raises:
        DataError: It is not an odd number from 1 to `MOST_SLICES`.
    """
    slices = 1 if text is None else whole_number(text, least=1, most=MOST_SLICES)
    if slices is None or slices % 2 == 0:
        raise DataError(
            f"the number of slices is not an odd number from 1 to {MOST_SLICES}",
            whose="the option slices",
            fix="write it as in ?slices=5: the slice of the place and two on each side of it",
            code="data/bad-option",
        )
    return slices

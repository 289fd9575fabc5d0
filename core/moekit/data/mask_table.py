"""What the values of a mask mean."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

IGNORED = -1
"""The class number of pixels that count neither in training nor in a figure."""

Colour = tuple[int, int, int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskTable:
    """Values of a mask, or its colours, and the class number of each.

    Attributes:
        values: Class number by value, for masks of one channel; `IGNORED` for pixels that do not
            count.
        colours: Class number by colour (red, green, blue, 0 to 255), for colour masks.
        others: Class number of every value that is not listed; None if such a value is an error.
    """

    values: Mapping[int, int] = dataclasses.field(default_factory=dict, hash=False)
    colours: Mapping[Colour, int] = dataclasses.field(default_factory=dict, hash=False)
    others: int | None = None

"""What an export says of an image, whichever tool wrote it, and what of it could not be used.

Shapes: H and W rows and columns of an image.
"""

from __future__ import annotations

import collections
import dataclasses
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

_EXAMPLES = 3


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Shape:
    """A marked region.

    Attributes:
        name: Its class.
        box: Left, top, width and height in pixels; None if it is not a box.
        polygons: Each x, y, x, y, ...; empty if it is none.
        mask: (h, w) bool pixels, or None.
        corner: Top and left of `mask`.
    """

    name: str
    box: tuple[float, float, float, float] | None = None
    polygons: tuple[tuple[float, ...], ...] = ()
    mask: np.ndarray | None = None
    corner: tuple[int, int] = (0, 0)

    def paint(self, value: int, class_HW: np.ndarray) -> None:
        """Gives its pixels a value; a box all that are inside of it."""
        height, width = class_HW.shape
        if self.mask is not None:
            top, left = self.corner
            part = class_HW[top : top + self.mask.shape[0], left : left + self.mask.shape[1]]
            part[self.mask[: part.shape[0], : part.shape[1]]] = value
            return
        outlines = self.polygons
        if not outlines and self.box is not None:
            x, y, w, h = (round(one) for one in self.box)
            class_HW[max(0, y) : y + h, max(0, x) : x + w] = value
            return
        drawn = Image.new("1", (width, height))
        for one in outlines:
            ImageDraw.Draw(drawn).polygon([round(value, 3) for value in one], fill=1)
        class_HW[np.asarray(drawn)] = value


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Marked:
    """What an export says of an image.

    Attributes:
        name: Of its file, as the export writes it.
        size: (H, W) that places are of; None if the export does not say.
        tags: Classes of the image as a whole.
        shapes: Regions, the one in front last.
        by: Who marked it; empty if the export does not say.
    """

    name: str
    size: tuple[int, int] | None = None
    tags: tuple[str, ...] = ()
    shapes: tuple[Shape, ...] = ()
    by: str = ""


class Leftovers:
    """Counts what of an export is not used, by reason."""

    def __init__(self) -> None:
        self._counts: collections.Counter[str] = collections.Counter()
        self._examples: dict[str, list[str]] = {}

    def add(self, reason: str, example: str) -> None:
        """Counts one thing."""
        self._counts[reason] += 1
        named = self._examples.setdefault(reason, [])
        if len(named) < _EXAMPLES and example not in named:
            named.append(example)

    def as_json(self) -> list[dict[str, Any]]:
        """Reasons with their counts and some examples, the most frequent first."""
        return [
            {"reason": reason, "count": count, "examples": self._examples[reason]}
            for reason, count in self._counts.most_common()
        ]

"""Overlapping windows of pictures that are larger than the input, and who shares a batch.

Shapes: H and W rows and columns of a picture.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence

from moekit.data.geometry import Box, Frame, Size
from moekit.data.samples import Sample
from moekit.data.sizes import header_size

OVERLAP = 0.25
"""Least share of a window that its neighbour covers too."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tiling:
    """How pictures are cut that are larger than a window.

    Attributes:
        height: Rows of a window, in pixels of the picture.
        width: Columns of a window.
        overlap: Least share of a window that its neighbour covers too, from 0 to below 1.
        flat: A window whose channels vary by at most that many of 255 levels takes the answer of
            the first such window of its colour; see `moekit.runtime.flat`.
    """

    height: int
    width: int
    overlap: float = OVERLAP
    flat: int = 0

    @classmethod
    def of(cls, frame: Frame, tile: int, *, overlap: float = OVERLAP, flat: int = 0) -> Tiling:
        """Windows of the shape of an input whose longer side is `tile` pixels of the picture."""
        longer = max(frame.height, frame.width)
        return cls(
            height=max(1, round(frame.height * tile / longer)),
            width=max(1, round(frame.width * tile / longer)),
            overlap=overlap,
            flat=flat,
        )

    def as_json(self) -> dict[str, int | float]:
        """Ready for JSON; `flat` is named if it is not 0, since runs are older than it."""
        facts = dataclasses.asdict(self)
        return {name: value for name, value in facts.items() if name != "flat" or value}

    def cuts(self, size: Size) -> bool:
        """Whether a picture of `size` (H, W) is cut."""
        return size[0] > self.height or size[1] > self.width

    def boxes(self, size: Size) -> tuple[Box, ...]:
        """The windows of a picture of `size` (H, W)."""
        return windows(size, (self.height, self.width), overlap=self.overlap)


def windows(size: Size, window: Size, *, overlap: float = OVERLAP) -> tuple[Box, ...]:
    """Windows that cover a picture, row by row, evenly spread.

    Args:
        size: (H, W) of the picture.
        window: Rows and columns of a window; a picture that is smaller in a direction has one
            window there, as long as the picture.
        overlap: Least share of a window that its neighbour covers too, from 0 to below 1.

    Raises:
        ValueError: The overlap is out of its range.
    """
    if not 0 <= overlap < 1:
        raise ValueError(f"the overlap is {overlap}; it is from 0 to below 1")
    rows = _starts(size[0], window[0], overlap)
    columns = _starts(size[1], window[1], overlap)
    height, width = min(window[0], size[0]), min(window[1], size[1])
    return tuple(Box(top, left, height, width) for top in rows for left in columns)


def cut_samples(samples: Sequence[Sample], tiling: Tiling | None) -> tuple[Sample, ...]:
    """The samples, each large one replaced by its windows, which share its id.

    A file whose header cannot be read stays as it is: readers report it later.
    """
    if tiling is None:
        return tuple(samples)
    cut: list[Sample] = []
    for sample in samples:
        size = header_size(sample.path)
        if size is None or not tiling.cuts(size):
            cut.append(sample)
        else:
            cut += [dataclasses.replace(sample, window=box) for box in tiling.boxes(size)]
    return tuple(cut)


def together(
    sizes: Iterable[Size | None], batch_size: int, tiling: Tiling | None
) -> Iterator[range]:
    """Which items share a batch: neighbours that are not cut; one that is cut is alone.

    Args:
        sizes: (H, W) of each item's picture; None if it is not known. They are asked for as the
            batches are.
        batch_size: Most items of a batch.
        tiling: How pictures are cut; None if none is.
    """
    first = place = 0
    for place, size in enumerate(sizes, 1):
        if tiling is not None and size is not None and tiling.cuts(size):
            if place - 1 > first:
                yield range(first, place - 1)
            yield range(place - 1, place)
            first = place
        elif place - first == batch_size:
            yield range(first, place)
            first = place
    if first < place:
        yield range(first, place)


def _starts(length: int, window: int, overlap: float) -> list[int]:
    if window >= length:
        return [0]
    count = 1 + math.ceil((length - window) / (window * (1 - overlap)) - 1e-9)
    return [round(place * (length - window) / (count - 1)) for place in range(count)]

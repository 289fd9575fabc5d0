"""The masks of one picture's objects as runs of pixels: memory grows with outlines, not with areas.

Pixels are read column by column, as in COCO's run lengths (Lin et al. 2014, arXiv:1405.0312;
cocoapi). A run is the number of its first pixel and the number after its last one.

Shapes: G masks, R runs of all of them, n runs of one, H and W rows and columns of the picture, h
and w those of a part, D other masks, P points.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from moekit.tasks.segment import compress_runs, expand_runs

NOTHING = np.zeros((0, 2), dtype=np.int64)
"""The runs of a mask without pixels."""
_KEPT = 4096
"""Texts whose runs are kept, the latest used ones."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Masks:
    """Masks of one picture.

    Attributes:
        size: (H, W) of the picture, upright.
        run_R2: (R, 2) int64 runs, mask by mask; those of a mask are in order and do not touch.
        first_G1: (G + 1,) int64 the first run of each mask, and R.
    """

    size: tuple[int, int]
    run_R2: np.ndarray
    first_G1: np.ndarray

    def __len__(self) -> int:
        return len(self.first_G1) - 1

    @classmethod
    def of(cls, size: tuple[int, int], runs: Sequence[np.ndarray]) -> Masks:
        """Masks of their runs, (n, 2) each, as functions of this module give them."""
        return cls(
            size=size,
            run_R2=np.concatenate([NOTHING, *runs]),
            first_G1=np.cumsum([0, *map(len, runs)]),
        )

    @classmethod
    def read(cls, size: tuple[int, int], texts: Sequence[str]) -> Masks:
        """Masks of their compressed run lengths.

        Raises:
            DataError: A text is damaged.
            ValueError: The runs do not fill the picture.
        """
        return cls.of(size, [_read(text, size) for text in texts])

    def runs(self, place: int) -> np.ndarray:
        """(n, 2) the runs of a mask."""
        part: np.ndarray = self.run_R2[self.first_G1[place] : self.first_G1[place + 1]]
        return part

    def text(self, place: int) -> str:
        """A mask as COCO's compressed run lengths."""
        return compress_runs(counts_of(self.runs(place), self.size))

    @property
    def area_G(self) -> np.ndarray:
        """(G,) int64 pixels."""
        return self._sums(self.run_R2[:, 1] - self.run_R2[:, 0])

    @property
    def box_G4(self) -> np.ndarray:
        """(G, 4) float64 x, y, width and height of the pixels; zeros of an empty mask."""
        box_G4 = np.zeros((len(self), 4))
        there = np.flatnonzero(np.diff(self.first_G1))
        if not len(there):
            return box_G4
        height = self.size[0]
        column_R2, row_R2 = np.divmod(self.run_R2 - (0, 1), height)
        spans_R = column_R2[:, 1] > column_R2[:, 0]
        first = self.first_G1[there]
        left = column_R2[first, 0]
        right = column_R2[self.first_G1[there + 1] - 1, 1] + 1
        top = np.minimum.reduceat(np.where(spans_R, 0, row_R2[:, 0]), first)
        bottom = np.maximum.reduceat(np.where(spans_R, height - 1, row_R2[:, 1]), first) + 1
        box_G4[there] = np.stack([left, top, right - left, bottom - top], axis=1)
        return box_G4

    def take(self, rows: np.ndarray | Sequence[int] | slice) -> Masks:
        """The masks at these positions, or if a mask of them is true."""
        places = np.arange(len(self))[rows]
        return Masks.of(self.size, [self.runs(place) for place in places.tolist()])

    def within(self, window: tuple[int, int, int, int]) -> Masks:
        """The masks as a window of the picture shows them; one that it does not show is empty.

        Args:
            window: Top, left, height and width.
        """
        top, left, height, width = window
        runs = []
        for place in range(len(self)):
            corner, pixels = self.crop(place)
            down, across = corner[0] - top, corner[1] - left
            part = pixels[max(0, -down) : height - down, max(0, -across) : width - across]
            inside = min(part.shape) > 0 and down < height and across < width
            start = (max(0, down), max(0, across))
            runs.append(runs_of(part, start, height) if inside else NOTHING)
        return Masks.of((height, width), runs)

    def crop(self, place: int) -> tuple[tuple[int, int], np.ndarray]:
        """The part of the picture that a mask takes: its top and left, and (h, w) bool pixels."""
        left, top, across, down = self.box_G4[place].astype(int).tolist()
        height = self.size[0]
        edges = self.runs(place) - left * height
        change = np.zeros(across * height + 1, dtype=np.int8)
        change[edges[:, 0]] = 1
        change[edges[:, 1]] = -1
        flat = np.cumsum(change[:-1], dtype=np.int8).astype(bool)
        return (top, left), flat.reshape(across, height)[:, top : top + down].T

    def holds(self, place: int, column_P: np.ndarray, row_P: np.ndarray) -> np.ndarray:
        """(P,) bool, whether pixels belong to a mask; those outside of the picture do not."""
        runs = self.runs(place)
        height, width = self.size
        inside_P = (column_P >= 0) & (column_P < width) & (row_P >= 0) & (row_P < height)
        number_P = np.where(inside_P, column_P * height + row_P, -1)
        run_P = np.searchsorted(runs[:, 0], number_P, side="right") - 1
        held_P = inside_P & (run_P >= 0)
        held_P[held_P] = number_P[held_P] < runs[run_P[held_P], 1]
        return held_P

    def shared_pixels(self, others: Masks) -> np.ndarray:
        """(G, D) int64 pixels that masks share with other ones of the same picture."""
        shared_GD = np.zeros((len(self), len(others)), dtype=np.int64)
        bound_R2 = others.run_R2
        for place in range(len(self)):
            runs = self.runs(place)
            if len(runs):
                inside_R2 = _before(runs, bound_R2)
                shared_GD[place] = others._sums(inside_R2[:, 1] - inside_R2[:, 0])
        return shared_GD

    def _sums(self, value_R: np.ndarray) -> np.ndarray:
        """(G,) sums over the runs of each mask."""
        total = np.concatenate([[0], np.cumsum(value_R)])
        sums_G: np.ndarray = np.diff(total[self.first_G1])
        return sums_G


def overlaps(found: Masks, true: Masks, crowd_G: np.ndarray) -> np.ndarray:
    """(D, G) IoU of found and true masks; of a crowd the share of the found mask that lies in it.

    Args:
        found: D masks.
        true: G masks of the same picture.
        crowd_G: Which of them are crowds.
    """
    both_DG = found.shared_pixels(true)
    area_D1 = found.area_G[:, None]
    union_DG = np.where(crowd_G, area_D1, area_D1 + true.area_G - both_DG)
    shares: np.ndarray = both_DG / np.maximum(union_DG, 1)
    return shares


def runs_of(
    mask_hw: np.ndarray, corner: tuple[int, int] = (0, 0), height: int | None = None
) -> np.ndarray:
    """(n, 2) runs of a part of a picture.

    Args:
        mask_hw: (h, w), true if it is not zero.
        corner: Top and left of the part.
        height: H; as many rows as the part has if not given.
    """
    rows, columns = mask_hw.shape
    height = rows if height is None else height
    padded = np.zeros((columns, rows + 2), dtype=np.int8)
    padded[:, 1:-1] = np.asarray(mask_hw, dtype=bool).T
    change = np.diff(padded, axis=1)
    ends = []
    for kind in (1, -1):
        column, row = np.nonzero(change == kind)
        ends.append((corner[1] + column) * height + corner[0] + row)
    return united([np.stack(ends, axis=1)])


def united(parts: Sequence[np.ndarray]) -> np.ndarray:
    """(n, 2) the runs of all pixels that any of some runs hold, in order; none touch or are empty.

    Args:
        parts: (n, 2) each.
    """
    runs = np.concatenate([NOTHING, *parts])
    runs = runs[runs[:, 1] > runs[:, 0]]
    runs = runs[np.argsort(runs[:, 0], kind="stable")]
    if not len(runs):
        return NOTHING
    end = np.maximum.accumulate(runs[:, 1])
    apart = runs[1:, 0] > end[:-1]
    first, last = np.append(True, apart), np.append(apart, True)
    return np.stack([runs[first, 0], end[last]], axis=1)


def runs_of_counts(counts: Sequence[int], size: tuple[int, int]) -> np.ndarray:
    """(n, 2) runs of COCO's run lengths, zeros first.

    Raises:
        ValueError: They do not fill a picture of this size (H, W), or one is negative.
    """
    lengths = np.asarray(counts, dtype=np.int64).reshape(-1)
    pixels = size[0] * size[1]
    if lengths.sum() != pixels or lengths.min(initial=0) < 0:
        raise ValueError(f"runs of {lengths.sum()} pixels do not fill {size[0]} x {size[1]}")
    edges = np.cumsum(lengths)[: len(lengths) // 2 * 2]
    return united([edges.reshape(-1, 2)])


def counts_of(runs: np.ndarray, size: tuple[int, int]) -> list[int]:
    """COCO's run lengths of (n, 2) runs, zeros first."""
    edges = np.concatenate([[0], runs.reshape(-1), [size[0] * size[1]]])
    counts: list[int] = np.diff(edges).tolist()
    return counts if counts[-1] or len(counts) == 1 else counts[:-1]


def _before(runs: np.ndarray, number_R2: np.ndarray) -> np.ndarray:
    """(R, 2) how many pixels of a mask lie before each number."""
    start, length = runs[:, 0], runs[:, 1] - runs[:, 0]
    run_R2 = np.searchsorted(start, number_R2, side="right") - 1
    known_R2 = np.maximum(run_R2, 0)
    whole = np.cumsum(length) - length
    before_R2 = whole[known_R2] + np.minimum(number_R2 - start[known_R2], length[known_R2])
    return np.where(run_R2 < 0, 0, before_R2)


@functools.lru_cache(maxsize=_KEPT)
def _read(text: str, size: tuple[int, int]) -> np.ndarray:
    runs = runs_of_counts(expand_runs(text), size)
    runs.flags.writeable = False
    return runs

"""Whether two pictures show the same: one is laid over the other and the two are correlated.

Both become small and grey. What is left of each is how far a pixel lies above its neighbourhood, in
units of the neighbourhood's own contrast, so that light and exposure cancel out. One is then moved
over the other in the eight turns and mirrors and several scales. The highest normalised
cross-correlation tells how alike they are (Lewis 1995; over the parts that overlap, Padfield 2012).
It is taken twice: things of one kind agree in their outline, the same thing also in its grain.

Shapes: P and Q rows and columns of a picture, S scales.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image
from scipy import fft  # type: ignore[import-untyped]
from scipy.ndimage import gaussian_filter  # type: ignore[import-untyped]

_COARSE, _COARSE_SIGMA = 32, 2.0
_OUTLINE, _GRAIN = (96, 3.0), (192, 2.5)
"""Longest side, and width of the neighbourhood, of the two comparisons; all in pixels."""
SIDE = _GRAIN[0]
_SMALLEST = 12
"""A picture with a shorter side is not compared."""
_SCALES = (1.0, 0.91, 0.83, 0.75, 0.68, 0.62)
_REFINED = (0.04, 0.02, 0.01)
_GRAIN_STEPS = (0.0, 0.005, 0.01)
_TURNS = 8
_OVERLAP = 0.7
"""Least share of the smaller picture that lies on the other."""
_TRIED = 3
_HOPELESS = 0.48
"""Pictures whose coarse copies correlate less are not compared in detail."""
_HELD, _HELD_SIDE = 12, 104
"""Copies of a picture that are held, so that its next comparison need not make them again, and the
longest side that they have."""
_FLAT = 0.5
"""Contrast, as a share of the whole picture's, below which details count less."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Registered:
    """How two pictures fit best.

    Attributes:
        score: Mean correlation of outline and grain, from -1 to 1; 1 for copies.
        turns: Quarter turns, against the clock, of the one that was moved.
        mirrored: Whether it was mirrored after them.
        scale: Its size next to that of the other, if the longest sides were equal before.
        moved: 0 if the first picture was moved, 1 if the second was.
    """

    score: float
    turns: int = 0
    mirrored: bool = False
    scale: float = 1.0
    moved: int = 1


class Copy:
    """A copy of a picture in one size.

    Args:
        details_PQ: Its details.
    """

    def __init__(self, details_PQ: np.ndarray) -> None:
        self.details_PQ = details_PQ

    @functools.cached_property
    def sums(self) -> np.ndarray:
        """(P + 1, Q + 1) sums of squares; see `_sums`."""
        return _sums(self.details_PQ)


class PreparedPicture:
    """A picture prepared for comparisons.

    Args:
        picture: Of any size and mode.
        side: Longest side that it is reduced to; it is never enlarged.
    """

    def __init__(self, picture: Image.Image, side: int = SIDE) -> None:
        grey = picture.convert("L")
        share = min(1.0, side / max(grey.size))
        width, height = (max(1, round(length * share)) for length in grey.size)
        reduced = grey.resize((width, height), Image.Resampling.BOX)
        self._grey = np.asarray(reduced, dtype=np.float32)
        self._known: dict[tuple[float, float], Copy] = {}

    @property
    def side(self) -> int:
        """Its longest side, in pixels."""
        return max(int(length) for length in self._grey.shape)

    @property
    def is_usable(self) -> bool:
        """Whether it is large enough, and not of one brightness."""
        return min(self._grey.shape) >= _SMALLEST and float(np.ptp(self._grey)) > 0

    @functools.cached_property
    def coarse(self) -> list[Copy]:
        """(S) coarse copies, the largest first."""
        share = min(1.0, _COARSE / self.side)
        return [Copy(self._details(share * scale, _COARSE_SIGMA)) for scale in _SCALES]

    def at(self, share: float, sigma: float) -> Copy:
        """A copy whose sides are `share` of this one's; the first small ones are held."""
        known = self._known.get((share, sigma))
        if known is None:
            known = Copy(self._details(share, sigma))
            if share * self.side <= _HELD_SIDE and len(self._known) < _HELD:
                self._known[share, sigma] = known
        return known

    def _details(self, share: float, sigma: float) -> np.ndarray:
        height, width = (max(4, round(length * share)) for length in self._grey.shape)
        if (height, width) == self._grey.shape:
            return _details(self._grey, sigma)
        method = Image.Resampling.BOX if share < 1 else Image.Resampling.BICUBIC
        return _details(
            np.asarray(Image.fromarray(self._grey).resize((width, height), method)), sigma
        )


def register(first: PreparedPicture, second: PreparedPicture, *, whole: bool = False) -> Registered:
    """How two pictures fit best.

    Args:
        first: A picture.
        second: Another one.
        whole: Whether pictures whose coarse copies differ are compared in detail too; else half of
            what these correlate is their score.

    Found are turns by quarters, mirrors, cuts down to 0.6 of the sides and shifts that leave 70% of
    the smaller picture on the other, also with other light or compression. Not found are other
    turns, and parts that move against each other.
    """
    if not (first.is_usable and second.is_usable):
        return Registered(score=0.0)
    pictures = (first, second)
    found = sorted(_coarse(pictures), key=lambda one: -one.score)
    if found[0].score < _HOPELESS and not whole:
        return dataclasses.replace(found[0], score=found[0].score / 2)
    best = Registered(score=-1.0)
    for start in found[:_TRIED]:
        tried = _fine(pictures, start, (0.0, *_REFINED[:1]), _OUTLINE)
        best = max(best, tried, key=lambda one: one.score)
    for step in _REFINED[1:]:
        best = max(best, _fine(pictures, best, (step,), _OUTLINE), key=lambda one: one.score)
    grain = _fine(pictures, best, _GRAIN_STEPS, _GRAIN)
    return dataclasses.replace(grain, score=(best.score + grain.score) / 2)


def _details(grey: np.ndarray, sigma: float) -> np.ndarray:
    above = grey - gaussian_filter(grey, sigma, mode="nearest")
    contrast = np.sqrt(gaussian_filter(above * above, sigma, mode="nearest"))
    whole = float(np.sqrt((above * above).mean())) + 1e-3
    details: np.ndarray = (above / (contrast + _FLAT * whole)).astype(np.float32)
    return details


def _turned(details: np.ndarray, number: int) -> np.ndarray:
    turned = np.rot90(details, number % 4)
    return turned[:, ::-1] if number >= _TURNS // 2 else turned


def _coarse(pictures: tuple[PreparedPicture, PreparedPicture]) -> Iterator[Registered]:
    """The best shift of each turn and scale, whichever picture is moved."""
    for moved in (1, 0):
        stays, moves = pictures[1 - moved].coarse[0], pictures[moved].coarse
        first = 0 if moved else 1  # of one size it does not matter which one is moved
        tried = [
            (scale, number, _turned(copy.details_PQ, number))
            for scale, copy in zip(_SCALES[first:], moves[first:], strict=True)
            for number in range(_TURNS)
        ]
        scores = _scores(stays, [one for _, _, one in tried])
        for (scale, number, _), score in zip(tried, scores, strict=True):
            yield _registered(score, number, scale, moved)


def _fine(
    pictures: tuple[PreparedPicture, PreparedPicture],
    start: Registered,
    steps: Sequence[float],
    level: tuple[int, float],
) -> Registered:
    """The best shift and scale near those that are known."""
    side = min(level[0], *(picture.side for picture in pictures))
    sigma = max(1.0, level[1] * side / level[0])
    number = start.turns + _TURNS // 2 * start.mirrored
    stays, moves = pictures[1 - start.moved], pictures[start.moved]
    scales = sorted({start.scale * (1 + sign * step) for step in steps for sign in (-1, 1)})
    copies = [moves.at(side / moves.side * scale, sigma) for scale in scales]
    turned = [_turned(copy.details_PQ, number) for copy in copies]
    scores = _scores(stays.at(side / stays.side, sigma), turned)
    place = int(np.argmax(scores))
    return _registered(scores[place], number, scales[place], start.moved)


def _registered(score: float, number: int, scale: float, moved: int) -> Registered:
    return Registered(
        score=float(score),
        turns=number % 4,
        mirrored=number >= _TURNS // 2,
        scale=scale,
        moved=moved,
    )


def _scores(stays: Copy, moved: Sequence[np.ndarray]) -> list[float]:
    """The highest correlation of each picture over all shifts."""
    shapes: dict[tuple[int, ...], list[int]] = {}
    for place, one in enumerate(moved):
        shapes.setdefault(one.shape, []).append(place)
    scores = [0.0] * len(moved)
    for places in shapes.values():
        found = _highest(stays, np.stack([moved[place] for place in places]))
        for place, score in zip(places, found, strict=True):
            scores[place] = score
    return scores


def _highest(stays: Copy, moved: np.ndarray) -> list[float]:
    """The highest correlation over the shifts with enough overlap, of pictures of one shape."""
    stays_PQ = stays.details_PQ
    places, own, shifts_of, lengths, sides = [], [], [], [], []
    for whole, part in zip(stays_PQ.shape, moved.shape[1:], strict=True):
        short = min(whole, part)
        least = int(np.ceil(_OVERLAP * short))
        shifts = np.arange(least - part, whole - least + 1)
        begin, end = np.maximum(shifts, 0), np.minimum(shifts + part, whole)
        places.append((begin, end))
        own.append((begin - shifts, end - shifts))
        shifts_of.append(shifts)
        lengths.append(end - begin)
        # So large that the shifts that count do not wrap around.
        sides.append(fft.next_fast_len(max(whole, part) + short - least + 1, real=True))
    spectrum = fft.rfft2(stays_PQ, sides)
    products = fft.irfft2(spectrum * np.conj(fft.rfft2(moved, sides)), sides)
    share = lengths[0][:, None] * lengths[1] / min(stays_PQ.size, moved[0].size)
    both = _inside(stays.sums, *places) * _inside(_sums(moved), *own)
    for axis, shifts in enumerate(shifts_of, 1):
        products = np.take(products, shifts, axis, mode="wrap")
    found = products / (np.sqrt(np.maximum(both, 0)) + 1e-3)
    highest: list[float] = np.where(share >= _OVERLAP, found, -1).max((1, 2)).tolist()
    return highest


def _sums(details: np.ndarray) -> np.ndarray:
    """Sums of squares of all that lies above and left of each corner; the last axes grow by 1."""
    *many, rows, columns = details.shape
    sums = np.zeros((*many, rows + 1, columns + 1))
    inner = sums[..., 1:, 1:]
    np.cumsum(np.square(details, dtype=np.float64), -2, out=inner)
    np.cumsum(inner, -1, out=inner)
    return sums


def _inside(
    sums: np.ndarray,
    rows: tuple[np.ndarray, np.ndarray],
    columns: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """Sums of squares inside each pair of a range of rows and one of columns."""
    (top, bottom), (left, right) = rows, columns
    lines = sums[..., bottom, :] - sums[..., top, :]
    inside: np.ndarray = lines[..., right] - lines[..., left]
    return inside

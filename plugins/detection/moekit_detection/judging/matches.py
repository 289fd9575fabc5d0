"""What is known of all found and all true objects of a split, picture by picture.

Metrics weigh pictures, so that a resample of a bootstrap is one vector of numbers.

Shapes: I pictures, C classes, D found objects, G true ones, A ranges of areas, T thresholds of IoU.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from moekit_detection.judging.match import IOUS, RANGES, match, overlaps
from moekit_detection.judging.mistakes import Mistakes, mistakes_of
from moekit_detection.records import Objects

Pair = tuple[Objects, Objects]
"""What was found in a picture, and its truth."""
_KEPT = 2600
"""Results that are kept of resamples: those of one bootstrap."""

ARRAYS = {
    "image_D": np.int32,
    "class_D": np.int32,
    "rank_D": np.int32,
    "score_D": np.float64,
    "box_D4": np.float64,
    "hit_DA": np.uint16,
    "ignored_DA": np.uint16,
    "mistake_D": np.uint8,
    "meant_D": np.int32,
    "image_G": np.int32,
    "class_G": np.int32,
    "counted_GA": np.bool_,
    "area_G": np.float64,
    "crowd_G": np.bool_,
    "found_G": np.float64,
    "excused_G": np.bool_,
}
"""The arrays and their types, as they are stored."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Matches:
    """Found objects, by class, then score, then picture; and true ones, by picture.

    Attributes:
        images: I.
        classes: C.
        image_D: (D,) number of the picture.
        class_D: (D,) class.
        rank_D: (D,) how many of its class stand before it in its picture.
        score_D: (D,) score in [0, 1].
        box_D4: (D, 4) x, y, w, h in pixels.
        hit_DA: (D, A) bit t says whether it is right at threshold t of IoU.
        ignored_DA: (D, A) bit t says whether it is neither right nor wrong.
        mistake_D: (D,) kind of mistake at the first threshold, see `moekit_detection.judging.
            mistakes`.
        meant_D: (D,) the true object that it means by that kind, as a row of those below; -1 for
            none.
        image_G: (G,) number of the picture.
        class_G: (G,) class.
        counted_GA: (G, A) whether it counts in a range.
        area_G: (G,) square pixels.
        crowd_G: (G,) whether it is a crowd.
        found_G: (G,) score of what found it at the first threshold of IoU, nan if nothing did.
        excused_G: (G,) whether it was not found, and a found object means it by its place or its
            class.
    """

    images: int
    classes: int
    image_D: np.ndarray
    class_D: np.ndarray
    rank_D: np.ndarray
    score_D: np.ndarray
    box_D4: np.ndarray
    hit_DA: np.ndarray
    ignored_DA: np.ndarray
    mistake_D: np.ndarray
    meant_D: np.ndarray
    image_G: np.ndarray
    class_G: np.ndarray
    counted_GA: np.ndarray
    area_G: np.ndarray
    crowd_G: np.ndarray
    found_G: np.ndarray
    excused_G: np.ndarray
    _kept: dict[Any, Any] = dataclasses.field(default_factory=dict, repr=False)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Matches):
            return NotImplemented
        same = (self.images, self.classes) == (other.images, other.classes)
        return same and all(
            np.array_equal(getattr(self, name), getattr(other, name), equal_nan=name == "found_G")
            for name in ARRAYS
        )

    __hash__ = None  # type: ignore[assignment]

    def kept(self, key: Any, make: Callable[[], Any]) -> Any:
        """What was made for a key before, or what is made now."""
        if key not in self._kept:
            if len(self._kept) >= _KEPT:
                self._kept.clear()
            self._kept[key] = make()
        return self._kept[key]

    @classmethod
    def of(
        cls, pairs: Sequence[Pair], classes: int, shares: Iterable[np.ndarray] | None = None
    ) -> Matches:
        """Matches what was found in each picture.

        Args:
            pairs: (I) of each picture.
            classes: C; no label is C or more.
            shares: (I) the overlaps (D, G) of each picture; those of the boxes if not given.
        """
        if shares is None:
            shares = (overlaps(found.box_G4, true.box_G4, true.crowd_G) for found, true in pairs)
        parts = [
            part
            for image, (pair, iou_DG) in enumerate(zip(pairs, shares, strict=True))
            for part in _of_image(image, pair, iou_DG)
        ]
        offset = np.cumsum([0, *(len(true) for _, true in pairs)])
        found: dict[str, Any] = {
            name: np.concatenate([part[name] for part in parts] or [_empty(name)])
            for name in ARRAYS
            if name not in _TRUE
        }
        meant = found["meant_D"]
        found["meant_D"] = np.where(meant >= 0, meant + offset[found["image_D"]], -1)
        order = np.lexsort((found["rank_D"], found["image_D"], -found["score_D"], found["class_D"]))
        found = {name: values[order].astype(ARRAYS[name]) for name, values in found.items()}
        true = _truth([true for _, true in pairs])
        made = cls(images=len(pairs), classes=classes, **found, **true)
        return made._with_what_was_found()

    def _with_what_was_found(self) -> Matches:
        found_G = np.full(len(self.image_G), np.nan)
        right = np.flatnonzero((self.hit_DA[:, 0] & 1) > 0)
        found_G[self.meant_D[right]] = self.score_D[right]
        excused_G = np.zeros(len(self.image_G), dtype=np.bool_)
        meant = np.isin(self.mistake_D, (Mistakes.PLACE, Mistakes.CLASS))
        excused_G[self.meant_D[meant]] = True
        excused_G &= np.isnan(found_G)
        return dataclasses.replace(self, found_G=found_G, excused_G=excused_G)


_TRUE = ("image_G", "class_G", "counted_GA", "area_G", "crowd_G", "found_G", "excused_G")
_WIDTHS = {"box_D4": (4,), "hit_DA": (len(RANGES),), "ignored_DA": (len(RANGES),)}


def _empty(name: str) -> np.ndarray:
    return np.zeros((0, *_WIDTHS.get(name, ())), dtype=ARRAYS[name])


def _of_image(image: int, pair: Pair, iou_DG: np.ndarray) -> list[dict[str, np.ndarray]]:
    """The rows of each class that was found in a picture; `meant_D` counts within it."""
    found, true = pair
    scores = found.score_G
    assert scores is not None
    taken_D = np.full(len(found), -1)
    made = []
    for label in np.unique(found.label_G).tolist():
        own_D = np.flatnonzero(found.label_G == label)
        own_G = np.flatnonzero(true.label_G == label)
        matched = match(found.take(own_D), true.take(own_G), iou_DG[np.ix_(own_D, own_G)])
        rows = own_D[matched.order_D]
        took = matched.taken_DT[:, 0]
        taken_D[rows] = np.where(took >= 0, own_G[took] if len(own_G) else -1, -1)
        made.append(
            {
                "image_D": np.full(len(rows), image),
                "class_D": np.full(len(rows), label),
                "rank_D": np.arange(len(rows)),
                "score_D": scores[rows],
                "box_D4": found.box_G4[rows],
                "hit_DA": _bits(matched.hit_ADT),
                "ignored_DA": _bits(matched.ignored_ADT),
                "row": rows,
            }
        )
    mistake_D, meant_D = mistakes_of(found, true, iou_DG, taken_D)
    for part in made:
        rows = part.pop("row")
        part["mistake_D"], part["meant_D"] = mistake_D[rows], meant_D[rows]
    return made


def _truth(truths: Sequence[Objects]) -> dict[str, Any]:
    counts = [len(one) for one in truths]
    area_G, crowd_G, class_G = (
        np.concatenate([getattr(one, name) for one in truths] or [np.zeros(0)])
        for name in ("area_G", "crowd_G", "label_G")
    )
    inside_GA = (area_G[:, None] >= RANGES[:, 0]) & (area_G[:, None] <= RANGES[:, 1])
    made = {
        "image_G": np.repeat(np.arange(len(truths)), counts),
        "class_G": class_G,
        "area_G": area_G,
        "crowd_G": crowd_G,
        "counted_GA": inside_GA & ~crowd_G.astype(np.bool_)[:, None],
        "found_G": np.full(len(area_G), np.nan),
        "excused_G": np.zeros(len(area_G)),
    }
    return {name: values.astype(ARRAYS[name]) for name, values in made.items()}


def _bits(flag_ADT: np.ndarray) -> np.ndarray:
    """(D, A) uint16 of (A, D, T) bool."""
    weights = 1 << np.arange(len(IOUS))
    bits: np.ndarray = (flag_ADT * weights).sum(2).T.astype(np.uint16)
    return bits

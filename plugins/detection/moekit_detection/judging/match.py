"""Found objects matched to true ones in one picture, as pycocotools does.

The rules are those of `COCOeval.evaluateImg` (Lin et al. 2014, arXiv:1405.0312; cocoapi). Within a
class the found objects come in the order of their scores, at most 100 of them. Each takes the free
true object with the highest IoU that reaches the threshold; of equals the last one. Objects that do
not count, because they are crowds or of another size, are taken only if no other fits; a crowd can
be taken often. What takes one that does not count, and what takes none and is of another size
itself, is neither right nor wrong.

Shapes: D found objects, G true ones, T thresholds of IoU, A ranges of areas.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from moekit_detection.records import Objects

IOUS = np.linspace(0.5, 0.95, 10)
"""(T,) thresholds of IoU."""
SIDES = (8, 16, 32, 64, 128)
"""Sides in pixels, of squares of the same area, between the bins of sizes."""
MOST = 100
"""Found objects of a class that count in a picture."""
_HUGE = 1e5**2
_BINS = tuple(
    (float(low**2), float(np.nextafter(high**2, 0)) if high else _HUGE)
    for low, high in zip((0, *SIDES), (*SIDES, 0), strict=True)
)
RANGES = np.array([(0, _HUGE), (0, 32**2), (32**2, 96**2), (96**2, _HUGE), *_BINS])
"""(A, 2) least and greatest area: COCO's all, small, medium and large, whose bounds overlap in one
value, then the bins of sizes, whose bounds do not."""
BIN_NAMES = tuple(
    f"{low}-{high}" if high else f"{low} and more"
    for low, high in zip((0, *SIDES), (*SIDES, 0), strict=True)
)
"""Names of the bins: sides in pixels, from the first to below the second."""
COCO_RANGES = 4
_FIRST, _JUST_BELOW_1 = 0, 1 - 1e-10


def overlaps(found_D4: np.ndarray, true_G4: np.ndarray, crowd_G: np.ndarray) -> np.ndarray:
    """(D, G) IoU of boxes x, y, w, h; of a crowd the share of the found box that lies in it."""
    found, true = found_D4[:, None], true_G4[None]
    low = np.maximum(found[..., :2], true[..., :2])
    high = np.minimum(found[..., :2] + found[..., 2:], true[..., :2] + true[..., 2:])
    sides = np.maximum(high - low, 0)
    both = sides[..., 0] * sides[..., 1]
    area_D1 = found[..., 2] * found[..., 3]
    union = np.where(crowd_G, area_D1, area_D1 + true[..., 2] * true[..., 3] - both)
    shares: np.ndarray = np.where(both > 0, both / np.where(union > 0, union, 1), 0)
    return shares


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Matched:
    """What came of matching one class of one picture.

    Attributes:
        order_D: (D,) the found objects that count, by score, as positions among those given.
        hit_ADT: (A, D, T) bool, whether it took a true object that counts.
        ignored_ADT: (A, D, T) bool, whether it is neither right nor wrong.
        taken_DT: (D, T) int64 the true object that it took among all areas, -1 for none.
    """

    order_D: np.ndarray
    hit_ADT: np.ndarray
    ignored_ADT: np.ndarray
    taken_DT: np.ndarray


def match(found: Objects, true: Objects, iou_DG: np.ndarray) -> Matched:
    """Matches the found objects of one class of a picture to the true ones of that class.

    Args:
        found: With scores.
        true: The truth.
        iou_DG: (D, G) their overlaps, in the order given.
    """
    scores = found.score_G
    assert scores is not None
    order_D = np.argsort(-scores, kind="stable")[:MOST]
    iou_DG = iou_DG[order_D]
    outside_AG = _outside(true.area_G) | true.crowd_G
    taken_ADT = _taken(iou_DG, outside_AG, true.crowd_G)
    took_ADT = taken_ADT >= 0
    ignored_ADT = ~took_ADT & _outside(found.area_G[order_D])[..., None]
    if len(true):
        ranges = np.arange(len(RANGES))[:, None, None]
        ignored_ADT |= took_ADT & outside_AG[ranges, np.maximum(taken_ADT, 0)]
    return Matched(
        order_D=order_D,
        hit_ADT=took_ADT & ~ignored_ADT,
        ignored_ADT=ignored_ADT,
        taken_DT=taken_ADT[_FIRST],
    )


def taken_by_class(found: Objects, true: Objects, iou: np.ndarray | None = None) -> np.ndarray:
    """(D,) int64 the true object of its own class that each found one takes at the first threshold.

    -1 for none; of more than `MOST` found objects of a class the last ones take none.

    Args:
        found: Of a picture, with scores.
        true: Its truth.
        iou: (D, G) their overlaps; those of the boxes if not given.
    """
    taken_D = np.full(len(found), -1)
    iou_DG = overlaps(found.box_G4, true.box_G4, true.crowd_G) if iou is None else iou
    for label in np.unique(found.label_G).tolist():
        own, ours = np.flatnonzero(found.label_G == label), np.flatnonzero(true.label_G == label)
        if len(ours):
            matched = match(found.take(own), true.take(ours), iou_DG[np.ix_(own, ours)])
            took = matched.taken_DT[:, _FIRST]
            taken_D[own[matched.order_D]] = np.where(took >= 0, ours[took], -1)
    return taken_D


def _outside(area: np.ndarray) -> np.ndarray:
    """(A, n) whether areas lie outside of each range."""
    outside: np.ndarray = (area < RANGES[:, :1]) | (area > RANGES[:, 1:])
    return outside


def _taken(iou_DG: np.ndarray, outside_AG: np.ndarray, crowd_G: np.ndarray) -> np.ndarray:
    """(A, D, T) the true object that each found one takes; -1 for none."""
    ranges, (found, true) = len(RANGES), iou_DG.shape
    taken_ADT = np.full((ranges, found, len(IOUS)), -1)
    if not true:
        return taken_ADT
    least_T = np.minimum(IOUS, _JUST_BELOW_1)
    free_ATG = np.ones((ranges, len(IOUS), true), dtype=bool)
    counts_A1G = ~outside_AG[:, None]
    for place in np.flatnonzero(iou_DG.max(1) >= least_T[0]):
        near_G = np.flatnonzero(iou_DG[place] >= least_T[0])
        value_G = iou_DG[place, near_G]
        open_ATG = free_ATG[..., near_G] & (value_G >= least_T[:, None])
        counted_ATG = open_ATG & counts_A1G[..., near_G]
        best_AT, fits_AT = _last_best(value_G, counted_ATG)
        other_AT, others_AT = _last_best(value_G, open_ATG & ~counted_ATG)
        chosen_AT = near_G[np.where(fits_AT, best_AT, other_AT)]
        fits_AT |= others_AT
        taken_ADT[:, place] = np.where(fits_AT, chosen_AT, -1)
        first, second = np.nonzero(fits_AT & ~crowd_G[chosen_AT])
        free_ATG[first, second, chosen_AT[first, second]] = False
    return taken_ADT


def _last_best(value_G: np.ndarray, open_ATG: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The highest value among the open ones.

    Returns:
        (A, T) its position, of equals the last one; (A, T) whether any is open.
    """
    backwards = np.where(open_ATG, value_G, -1)[..., ::-1]
    best_AT = len(value_G) - 1 - backwards.argmax(2)
    return best_AT, np.any(open_ATG, axis=2)

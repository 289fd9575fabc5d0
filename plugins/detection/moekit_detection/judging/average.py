"""Average precision and recall of weighed pictures, equal to pycocotools if each weighs 1.

Precision is interpolated at 101 recalls from 0 to 1, and averaged over them (`COCOeval.accumulate`,
cocoapi). A picture that weighs k counts as k pictures, which is what a resample of pictures is: the
envelope of the curve passes the same points.

Shapes: I pictures, C classes, D found objects, A ranges of areas, T thresholds of IoU, K pairs of a
range and a threshold, H hits (a found object at one of the K), R recalls.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from moekit_detection.judging.match import COCO_RANGES, IOUS, RANGES
from moekit_detection.judging.matches import Matches

RECALLS = np.linspace(0, 1, 101)
"""(R,) where precision is read."""
CUTS = (1, 10, 100)
"""Most objects of a class in a picture, for average recall."""
_ALL = 0
_AT_50, _AT_75 = 0, 5


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Figures:
    """Figures of each class; nan if a class has no true object.

    Attributes:
        ap_AC: (A, C) average precision, the mean over thresholds of IoU.
        ap50_AC: (A, C) the same at IoU 0.5.
        ap75_C: (C,) at IoU 0.75, of all areas.
        recall_AC: (A, C) greatest recall, the mean over thresholds of IoU.
        cut_recall_MC: (M, C) the same of all areas with at most 1, 10 and 100 objects a picture.
    """

    ap_AC: np.ndarray
    ap50_AC: np.ndarray
    ap75_C: np.ndarray
    recall_AC: np.ndarray
    cut_recall_MC: np.ndarray


def figures_of(matches: Matches, weights_I: np.ndarray, *, bins: bool = False) -> Figures:
    """The figures of some pictures; kept, so that several metrics of a resample cost one.

    Args:
        matches: Of a split.
        weights_I: (I,) how often each picture counts.
        bins: Whether the ranges are the bins of sizes in place of COCO's four.
    """
    key = (bins, weights_I.astype(np.uint16).tobytes())
    made: Figures = matches.kept(key, lambda: _ready(matches, bins).figures(weights_I))
    return made


def mean_of(value_C: np.ndarray) -> float:
    """The mean over the classes that have true objects; nan if none has."""
    known = np.isfinite(value_C)
    return float(value_C[known].mean()) if known.any() else float("nan")


def curves_of(matches: Matches, threshold: int = _AT_50) -> np.ndarray:
    """(C, R) interpolated precision at each recall, of all pictures and areas; nan of no truth.

    Args:
        matches: Of a split.
        threshold: Which of the thresholds of IoU.
    """
    ready = _ready(matches, bins=False)
    return ready.curves(np.ones(matches.images), threshold)


def _ready(matches: Matches, bins: bool) -> _Ready:
    made: _Ready = matches.kept(("ready", bins), lambda: _Ready(matches, bins))
    return made


class _Ready:
    """A split's matches, arranged once for all resamples.

    Args:
        matches: Of the split.
        bins: As of `figures_of`.
    """

    def __init__(self, matches: Matches, bins: bool) -> None:
        ranges = slice(COCO_RANGES, None) if bins else slice(0, COCO_RANGES)
        self.classes = matches.classes
        self.ranges = len(RANGES[ranges])
        hit_DA = matches.hit_DA[:, ranges]
        rows = _that_matter(hit_DA, matches.class_D)
        bit_T = 1 << np.arange(len(IOUS))

        def spread(bits_DA: np.ndarray) -> np.ndarray:
            """(K, D) bool, ranges first."""
            bits_ATD = bits_DA[rows].T[:, None] & bit_T[None, :, None]
            bits_KD = bits_ATD.reshape(self.ranges * len(IOUS), len(rows))
            flag_KD: np.ndarray = bits_KD > 0
            return flag_KD

        hit_KD = spread(hit_DA)
        self.counts_KD = ~spread(matches.ignored_DA[:, ranges])
        self.key_H, self.row_H = np.nonzero(hit_KD)
        class_D = matches.class_D[rows]
        self.image_D, self.rank_H = matches.image_D[rows], matches.rank_D[rows][self.row_H]
        self.class_H = class_D[self.row_H]
        self.curve_H = self.key_H * self.classes + self.class_H
        self.start_H = np.searchsorted(class_D, self.class_H)
        change = np.diff(self.curve_H, prepend=-1) != 0
        self.first_H = np.flatnonzero(change)[np.cumsum(change) - 1] if len(change) else self.row_H
        self.block_H = np.cumsum(change) - 1
        self.image_G, self.class_G = matches.image_G, matches.class_G
        self.counted_GA = matches.counted_GA[:, ranges]

    def true_AC(self, weights_I: np.ndarray) -> np.ndarray:
        """(A, C) weight of the true objects that count."""
        weight_G = weights_I[self.image_G]
        return np.stack(
            [
                np.bincount(self.class_G, weight_G * counted_G, self.classes)
                for counted_G in self.counted_GA.T
            ]
        )

    def _points(self, weights_I: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(H,) weights, recalls and enveloped precisions of the hits."""
        weight_D = weights_I[self.image_D].astype(np.float64)
        called_KD = np.zeros((len(self.counts_KD), len(weight_D) + 1))
        np.cumsum(self.counts_KD * weight_D, axis=1, out=called_KD[:, 1:])
        called_H = called_KD[self.key_H, self.row_H + 1] - called_KD[self.key_H, self.start_H]
        weight_H = weight_D[self.row_H]
        total_H = np.cumsum(weight_H)
        right_H = total_H - (total_H - weight_H)[self.first_H]
        true_H = self.true_AC(weights_I)[self.key_H // len(IOUS), self.class_H]
        recall_H = right_H / np.where(true_H > 0, true_H, 1)
        precision_H = right_H / (called_H + np.spacing(1))
        # The greatest of what follows, curve by curve: each block lies 2 above the one after it.
        lift_H = 2.0 * (self.block_H[-1:] - self.block_H)
        lifted_H = np.maximum.accumulate((precision_H + lift_H)[::-1])[::-1]
        return weight_H, recall_H, lifted_H - lift_H

    def figures(self, weights_I: np.ndarray) -> Figures:
        """The figures of weighed pictures."""
        weight_H, recall_H, precision_H = self._points(weights_I)
        reached_H = np.searchsorted(RECALLS, recall_H, side="right")
        before_H = np.concatenate([[0], reached_H[:-1]])[: len(reached_H)]
        before_H[self.first_H] = 0
        shape = (self.ranges, len(IOUS), self.classes)
        size = int(np.prod(shape))
        ap_ATC = np.bincount(self.curve_H, (reached_H - before_H) * precision_H, size) / len(
            RECALLS
        )
        right_ATC = np.bincount(self.curve_H, weight_H, size).reshape(shape)
        true_AC = self.true_AC(weights_I)
        unknown_AC = true_AC == 0
        ap_ATC = np.where(unknown_AC[:, None], np.nan, ap_ATC.reshape(shape))
        true_AC = np.where(unknown_AC, np.nan, true_AC)
        cut_MC = []
        for cut in CUTS:
            inside = (self.rank_H < cut) & (self.key_H < len(IOUS))
            right_TC = np.bincount(
                self.curve_H[inside], weight_H[inside], len(IOUS) * self.classes
            ).reshape(len(IOUS), self.classes)
            cut_MC.append((right_TC / true_AC[_ALL]).mean(0))
        return Figures(
            ap_AC=ap_ATC.mean(1),
            ap50_AC=ap_ATC[:, _AT_50],
            ap75_C=ap_ATC[_ALL, _AT_75],
            recall_AC=(right_ATC / true_AC[:, None]).mean(1),
            cut_recall_MC=np.stack(cut_MC),
        )

    def curves(self, weights_I: np.ndarray, threshold: int) -> np.ndarray:
        """See `curves_of`."""
        _, recall_H, precision_H = self._points(weights_I)
        found_CR = np.zeros((self.classes, len(RECALLS)))
        for label in range(self.classes):
            own = (self.class_H == label) & (self.key_H == threshold)
            place_R = np.searchsorted(recall_H[own], RECALLS, side="left")
            known_R = place_R < own.sum()
            found_CR[label, known_R] = precision_H[own][place_R[known_R]]
        found_CR[self.true_AC(weights_I)[_ALL] == 0] = np.nan
        return found_CR


def _that_matter(hit_DA: np.ndarray, class_D: np.ndarray) -> np.ndarray:
    """Positions of the found objects of each class up to its last hit: others change no curve."""
    hit = np.flatnonzero(hit_DA.any(1))
    if not len(hit):
        return hit
    last_C = np.full(int(class_D.max()) + 1, -1)
    np.maximum.at(last_C, class_D[hit], hit)
    return np.flatnonzero(np.arange(len(class_D)) <= last_C[class_D])

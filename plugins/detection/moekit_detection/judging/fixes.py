"""By how much AP50 would rise if one kind of mistake were mended, and the others left.

Bolya et al. 2020, arXiv:2008.08115, section 2.3. An object of a wrong class or place becomes right
if nothing has found the true object that it means, the one with the highest score if there are
several, and is removed if something has; found objects of the other kinds are removed; missed ones
are no longer asked for. AP is as pycocotools computes it.

Shapes: I pictures, C classes, D found objects, G true ones.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from moekit_detection.judging.average import RECALLS, mean_of
from moekit_detection.judging.matches import Matches
from moekit_detection.judging.mistakes import MISSED, NAMES, Mistakes


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Found:
    """Found objects, in their order, and whether each is right."""

    class_D: np.ndarray
    score_D: np.ndarray
    right_D: np.ndarray
    weight_D: np.ndarray


def gains_of(matches: Matches, weights_I: np.ndarray) -> dict[str, float | None]:
    """The gain of each kind by its name, in AP50 from -1 to 1; None if AP50 is undefined.

    Args:
        matches: Of a split.
        weights_I: (I,) how often each picture counts.
    """
    weight_D = weights_I[matches.image_D].astype(np.float64)
    counts_D = (matches.ignored_DA[:, 0] & 1 == 0) & (weight_D > 0)
    right_D = matches.hit_DA[:, 0] & 1 > 0
    counted_G = matches.counted_GA[:, 0]
    weight_G = weights_I[matches.image_G].astype(np.float64)

    def true_C(chosen_G: np.ndarray) -> np.ndarray:
        return np.bincount(matches.class_G[chosen_G], weight_G[chosen_G], matches.classes)

    def ap50(
        class_D: np.ndarray, right_D: np.ndarray, kept_D: np.ndarray, there_G: np.ndarray
    ) -> float:
        kept_D = kept_D & counts_D
        found = _Found(
            class_D=class_D[kept_D],
            score_D=matches.score_D[kept_D],
            right_D=right_D[kept_D],
            weight_D=weight_D[kept_D],
        )
        return mean_of(_ap50(found, true_C(there_G)))

    plain = ap50(matches.class_D, right_D, counts_D, counted_G)
    gains: dict[str, float | None] = {}
    for kind, name in NAMES.items():
        wrong_D = matches.mistake_D == kind
        class_D, mended_D = matches.class_D, right_D
        kept_D = ~wrong_D
        if kind in (Mistakes.CLASS, Mistakes.PLACE):
            first_D = _first_for_each(matches, wrong_D & counts_D)
            class_D = class_D.copy()
            class_D[first_D] = matches.class_G[matches.meant_D[first_D]]
            mended_D, kept_D = right_D | first_D, kept_D | first_D
        gains[name] = _less(ap50(class_D, mended_D, kept_D, counted_G), plain)
    lost_G = np.isnan(matches.found_G) & ~matches.excused_G
    missed = ap50(matches.class_D, right_D, counts_D, counted_G & ~lost_G)
    return {**gains, MISSED: _less(missed, plain)}


def _first_for_each(matches: Matches, wrong_D: np.ndarray) -> np.ndarray:
    """(D,) of those the one with the highest score for each true object that nothing found."""
    rows = np.flatnonzero(wrong_D)
    rows = rows[np.isnan(matches.found_G[matches.meant_D[rows]])]
    rows = rows[np.argsort(-matches.score_D[rows], kind="stable")]
    _, first = np.unique(matches.meant_D[rows], return_index=True)
    chosen_D = np.zeros(len(wrong_D), dtype=np.bool_)
    chosen_D[rows[first]] = True
    return chosen_D


def _ap50(found: _Found, true_C: np.ndarray) -> np.ndarray:
    """(C,) average precision; nan of a class without true objects."""
    value_C = np.full(len(true_C), np.nan)
    for label in np.flatnonzero(true_C):
        own = np.flatnonzero(found.class_D == label)
        own = own[np.argsort(-found.score_D[own], kind="stable")]
        called = np.cumsum(found.weight_D[own])
        right = np.cumsum(found.weight_D[own] * found.right_D[own])
        precision = np.maximum.accumulate((right / called)[::-1])[::-1]
        place_R = np.searchsorted(right / true_C[label], RECALLS, side="left")
        inside = place_R[place_R < len(own)]
        value_C[label] = precision[inside].sum() / len(RECALLS)
    return value_C


def _less(mended: float, plain: float) -> float | None:
    # Without its missed objects a class may have none left, and then nothing to be judged by.
    gain = mended - plain
    return gain if np.isfinite(gain) else None

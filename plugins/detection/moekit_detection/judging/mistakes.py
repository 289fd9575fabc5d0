"""Kinds of mistakes of found objects, as TIDE distinguishes them.

Bolya et al. 2020, "TIDE: A General Toolbox for Identifying Object Detection Errors", ECCV,
arXiv:2008.08115. The order of the questions is that of its code (tidecv). An object that was taken
for right, or for none that counts, is no mistake.

Shapes: D found objects of a picture, G true ones.
"""

from __future__ import annotations

import enum

import numpy as np

from moekit_detection.records import Objects

FOREGROUND, BACKGROUND = 0.5, 0.1
"""IoU from which an object is right, and up to which it lies on nothing."""


class Mistakes(enum.IntEnum):
    """The kinds; missed objects, which no found one stands for, are a kind of their own."""

    NONE = 0
    CLASS = 1
    PLACE = 2
    BOTH = 3
    TWICE = 4
    NOTHING = 5


NAMES = {
    Mistakes.CLASS: "wrong class",
    Mistakes.PLACE: "badly placed",
    Mistakes.BOTH: "wrong class and badly placed",
    Mistakes.TWICE: "found twice",
    Mistakes.NOTHING: "background",
}
"""TIDE's Cls, Loc, Both, Dupe and Bkg."""
MISSED = "missed"


def mistakes_of(
    found: Objects, true: Objects, iou_DG: np.ndarray, taken_D: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The kind of each found object, and which true one it stands for.

    Args:
        found: Of a picture.
        true: Its truth.
        iou_DG: (D, G) their overlaps.
        taken_D: (D,) the true object that each took at IoU 0.5; -1 for none.

    Returns:
        (D,) a number of `Mistakes`, and (D,) a position among the true objects: what it took, or of
        a wrong class or place the object that it lies on; -1 for none.
    """
    kind_D = np.full(len(found), Mistakes.NOTHING, dtype=np.int64)
    meant_D = taken_D.copy()
    kind_D[taken_D >= 0] = Mistakes.NONE
    real_G = ~true.crowd_G
    if not real_G.any():
        return kind_D, meant_D
    iou_DG = np.where(real_G, iou_DG, -1.0)
    same_DG = found.label_G[:, None] == true.label_G
    used_G = np.isin(np.arange(len(true)), taken_D)
    own_DG, other_DG = np.where(same_DG, iou_DG, -1.0), np.where(same_DG, -1.0, iou_DG)
    own_D, other_D = own_DG.max(1), other_DG.max(1)
    twice_D = np.where(used_G, own_DG, -1.0).max(1) >= FOREGROUND
    questions = (
        ((own_D >= BACKGROUND) & (own_D <= FOREGROUND), Mistakes.PLACE),
        (other_D >= FOREGROUND, Mistakes.CLASS),
        (twice_D, Mistakes.TWICE),
        (iou_DG.max(1) <= BACKGROUND, Mistakes.NOTHING),
    )
    wrong_D = taken_D < 0
    kind_D[wrong_D] = np.select(
        [yes[wrong_D] for yes, _ in questions], [kind for _, kind in questions], Mistakes.BOTH
    )
    meant_D = np.where(kind_D == Mistakes.PLACE, own_DG.argmax(1), meant_D)
    meant_D = np.where(kind_D == Mistakes.CLASS, other_DG.argmax(1), meant_D)
    return kind_D, meant_D

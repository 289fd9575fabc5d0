"""What outlines come to, counted as people count it."""

from __future__ import annotations

from typing import Any

import numpy as np

from moekit.contract.answers import TaskContext
from moekit.tasks.segment.tally import SegmentTally

_HARDEST = 3


def outcome(tally: SegmentTally, point: Any, context: TaskContext) -> list[str]:
    """How many pixels get the right class, how much foreground is found, and what is hardest.

    Args:
        tally: Counts of pixels.
        point: Unused; the counts are those at it.
        context: Unused.
    """
    del point, context
    confusion_CC = tally.confusion_NCC.sum(0)
    pixels = int(confusion_CC.sum())
    if not pixels:
        return []
    right_C, truth_C, said_C = confusion_CC.diagonal(), confusion_CC.sum(1), confusion_CC.sum(0)
    told = [f"{right_C.sum() / pixels:.1%} of the pixels get the right class."]
    back = list(tally.background)
    if back and truth_C.sum() > truth_C[back].sum():
        front = np.delete(np.arange(len(truth_C)), back)
        both, marked = confusion_CC[np.ix_(front, front)].sum(), said_C[front].sum()
        told.append(
            f"{both / truth_C[front].sum():.1%} of the foreground is found, and "
            f"{1 - both / marked:.1%} of what is marked is background."
            if marked
            else "No foreground is found: every pixel is answered as background."
        )
    union_C = truth_C + said_C - right_C
    iou = [
        (right_C[number] / union_C[number], name)
        for number, name in enumerate(tally.classes)
        if union_C[number] and number not in back
    ]
    if len(iou) > 1:
        worst = ", ".join(f"{name} (IoU {value:.0%})" for value, name in sorted(iou)[:_HARDEST])
        told.append(f"Hardest: {worst}.")
    return told

"""What found objects come to at the point, counted as people count it."""

from __future__ import annotations

from typing import Any

from moekit import TaskContext
from moekit_detection.judging.metrics import counts
from moekit_detection.judging.points import thresholds_of
from moekit_detection.judging.tally import DetectTally


def outcome(tally: DetectTally, point: Any, context: TaskContext) -> list[str]:
    """How many objects are found at an IoU of 0.5, and how many are reported that are wrong.

    Args:
        tally: Matches of pictures.
        point: A `DetectPoint`, or None for scores from 0.5 on.
        context: Unused.
    """
    del context
    right_N, wrong_N, true_N = counts(
        tally.rows_N, tally.matches, thresholds_of(point, len(tally.classes))
    )
    right, wrong, true = (int(one.sum()) for one in (right_N, wrong_N, true_N))
    told = []
    if true:
        told.append(
            f"{right} of {true} objects are found, {true - right} are missed: "
            f"{1 - right / true:.1%}."
        )
    if len(tally):
        told.append(
            f"{wrong} reported objects are wrong: {wrong / len(tally):.2f} a picture, in "
            f"{len(tally)} pictures."
        )
    return told

"""What outlines come to, in sentences."""

import numpy as np

from moekit.tasks.segment.outcome import outcome
from moekit.tasks.segment.tally import SegmentTally


def tally(confusion, background=()):
    confusion_NCC = np.array([confusion], dtype=np.int64)
    classes = len(confusion)
    return SegmentTally(
        ids=("a",),
        classes=tuple(f"class {number}" for number in range(classes)),
        background=background,
        confusion_NCC=confusion_NCC,
        boundary_NC3=np.zeros((1, classes, 3), dtype=np.int64),
        predicted_NC=confusion_NCC.sum(1),
        ignored_N=np.zeros(1, dtype=np.int64),
    )


def test_right_pixels_are_counted_and_the_hardest_classes_named():
    told = outcome(tally([[60, 10, 0], [0, 20, 0], [5, 0, 5]]), None, None)
    assert told == [
        "85.0% of the pixels get the right class.",
        "Hardest: class 2 (IoU 50%), class 1 (IoU 67%), class 0 (IoU 80%).",
    ]


def test_foreground_is_counted_where_there_is_background():
    told = outcome(tally([[70, 10], [5, 15]], background=(0,)), None, None)
    assert told == [
        "85.0% of the pixels get the right class.",
        "75.0% of the foreground is found, and 40.0% of what is marked is background.",
    ]


def test_no_share_of_what_is_marked_is_given_if_nothing_is_marked():
    told = outcome(tally([[80, 0], [20, 0]], background=(0,)), None, None)
    assert told == [
        "80.0% of the pixels get the right class.",
        "No foreground is found: every pixel is answered as background.",
    ]


def test_nothing_is_said_of_no_pixels():
    assert outcome(tally([[0, 0], [0, 0]]), None, None) == []

"""Answers as drafts of corrections: what a draft says is what the answer said."""

import dataclasses

import numpy as np
import pytest
from pydantic import TypeAdapter

from moekit.contract.answers import Item, TaskContext
from moekit.corrections.labels import Label, checked
from moekit.corrections.terms import terms_of
from moekit.data.geometry import Frame
from moekit.tasks.classify import CLASSIFY
from moekit.tasks.classify.answers import NONE_OF_THESE, ClassAnswer
from moekit.tasks.classify.point import ClassPoint, LabelPoint
from moekit.tasks.score import SCORE
from moekit.tasks.score.answers import ScoreAnswer
from moekit.tasks.segment import SEGMENT
from moekit.tasks.segment.answers import SegmentAnswer

SIZE = (20, 30)
ITEM = Item(id="a", size=SIZE)


def context(*classes):
    frame = Frame(height=28, width=28)
    return TaskContext(classes=classes, vocabulary={"positive": "bad"}, frame=frame)


def confirmed(task, answer, classes, point=None):
    """A draft, as it is kept; None if there is none."""
    draft = task.correcting.draft(answer, ITEM, context(*classes))
    if draft is None:
        return None
    terms = terms_of(task, kit="a/b", classes=classes, point=point)
    return checked(TypeAdapter(Label).validate_python(draft), SIZE, terms)


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [("pass", ["good"]), ("bad", ["odd"]), ("review", None), ("unreadable", None)],
)
def test_a_verdict_is_confirmed_as_its_class_unless_it_is_open(verdict, expected):
    answer = ScoreAnswer(
        score=0.6, verdict=verdict, threshold=0.5, kind="", regions=[], map_hw=None
    )
    found = confirmed(SCORE, answer, ("good", "odd"))
    assert (found and found["classes"]) == expected


def test_a_class_or_labels_are_confirmed_and_none_of_them_is_not():
    classes = ("a", "b|c", "d")
    one = ClassAnswer(verdict="b|c", top=(("b|c", 0.7), ("a", 0.2)))
    assert confirmed(CLASSIFY, one, classes, ClassPoint())["classes"] == ["b|c"]
    assert CLASSIFY.correcting.margin(one, ClassPoint()) == pytest.approx(0.5)
    several = LabelPoint(thresholds=(0.5,) * 3, rule="f1", n=9, values=(None,) * 3)
    both = dataclasses.replace(one, verdict="d|a")
    assert confirmed(CLASSIFY, both, classes, several)["classes"] == ["a", "d"]
    assert CLASSIFY.correcting.margin(both, several) is None
    nothing = dataclasses.replace(one, verdict=NONE_OF_THESE)
    assert confirmed(CLASSIFY, nothing, classes, ClassPoint()) is None


@pytest.mark.parametrize("count", [3, 300])
def test_a_mask_is_confirmed_to_the_pixel(count):
    class_HW = np.random.default_rng(0).integers(0, count, SIZE)
    few = class_HW.astype(np.uint8 if count < 256 else np.uint16)
    names = tuple(f"class {number}" for number in range(count))
    answer = SegmentAnswer(class_HW=few, classes=names, background=(0,))
    assert (confirmed(SEGMENT, answer, names) == class_HW).all()

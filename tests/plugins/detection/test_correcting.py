"""Found objects as drafts of corrections."""

import numpy as np
import pytest
from pydantic import TypeAdapter

from moekit.contract.answers import Item
from moekit.corrections.labels import Label, checked
from moekit.corrections.terms import terms_of
from moekit.tasks.segment.rle import decode
from moekit_detection.answers import DetectAnswer
from moekit_detection.instances.answers import InstanceAnswer
from moekit_detection.instances.spec import INSTANCES
from moekit_detection.masks.runs import Masks, runs_of
from moekit_detection.records import Objects
from moekit_detection.spec import DETECT

SIZE, CLASSES = (40, 60), ("bolt", "nut")
OBJECTS = Objects.of(
    [[2, 3, 10, 12], [20, 5, 8, 9], [40, 10, 5, 5]], [1, 0, 0], score_G=[0.9, 0.6, 0.2]
)
KEPT = np.array([True, True, False])


def confirmed(task, answer):
    draft = task.correcting.draft(answer, Item(id="a", size=SIZE), None)
    terms = terms_of(task, kit="a/b", classes=CLASSES, point=None)
    return checked(TypeAdapter(Label).validate_python(draft), SIZE, terms)["objects"]


def test_kept_boxes_are_confirmed_and_the_narrowest_decision_is_the_margin():
    answer = DetectAnswer(objects=OBJECTS, kept_G=KEPT, classes=CLASSES, size=SIZE)
    assert confirmed(DETECT, answer) == [
        {"class": "nut", "box": [2.0, 3.0, 10.0, 12.0]},
        {"class": "bolt", "box": [20.0, 5.0, 8.0, 9.0]},
    ]
    assert DETECT.correcting.margin(answer, None) == pytest.approx(0.1)
    none = OBJECTS.take(np.zeros(3, dtype=bool))
    empty = DetectAnswer(objects=none, kept_G=KEPT[:0], classes=CLASSES, size=SIZE)
    assert confirmed(DETECT, empty) == []
    assert DETECT.correcting.margin(empty, None) is None


def test_outlines_are_confirmed_to_the_pixel():
    masks = []
    for x, y, width, height in OBJECTS.box_G4[KEPT].astype(int).tolist():
        mask = np.zeros(SIZE, dtype=bool)
        mask[y : y + height, x : x + width] = True
        mask[y, x] = False
        masks.append(mask)
    answer = InstanceAnswer(
        objects=OBJECTS,
        kept_G=KEPT,
        classes=CLASSES,
        size=SIZE,
        masks=Masks.of(SIZE, [runs_of(mask) for mask in masks]),
    )
    found = confirmed(INSTANCES, answer)
    assert [one["class"] for one in found] == ["nut", "bolt"]
    for one, mask in zip(found, masks, strict=True):
        assert (decode(one["segmentation"]) == mask).all()

"""How objects are confirmed and corrected: boxes, and outlines if the task has them."""

from __future__ import annotations

import dataclasses
from typing import Any

from moekit import Correcting, Item, TaskContext
from moekit_detection.answers import DetectAnswer
from moekit_detection.instances.answers import InstanceAnswer
from moekit_detection.judging.points import LEVEL


def draft(answer: Any, item: Item, context: TaskContext) -> dict[str, Any] | None:
    """The kept objects of an answer; None of an answer of another task."""
    del item, context
    if isinstance(answer, InstanceAnswer):
        found = answer.shapes()
    elif isinstance(answer, DetectAnswer):
        found = answer.as_row()["objects"]
    else:
        return None
    kept = ("class", "box", "segmentation")
    return {
        "form": "objects",
        "objects": [{key: one[key] for key in kept if key in one} for one in found],
    }


def margin(answer: Any, point: Any) -> float | None:
    """How far the score of the object that is decided most narrowly is from the threshold."""
    level = None if point is None else LEVEL.of(point)
    scores = answer.objects.score_G
    if scores is None or not len(scores):
        return None
    return float(abs(scores - (0.5 if level is None else level)).min())


CORRECTING = Correcting(form="objects", loader="moekit-detection/coco", draft=draft, margin=margin)
OUTLINED = dataclasses.replace(CORRECTING, outlined=True)

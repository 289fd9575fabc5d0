"""How objects are confirmed and corrected: boxes, and outlines if the task has them."""

from __future__ import annotations

from typing import Any

from moekit import Correcting, Item, TaskContext
from moekit_detection.answers import DetectAnswer
from moekit_detection.instances.answers import InstanceAnswer


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


CORRECTING = Correcting(form="objects", loader="moekit-detection/coco", draft=draft)
OUTLINED = Correcting(form="objects", loader="moekit-detection/coco", draft=draft, outlined=True)

"""How verdicts are confirmed and corrected: an image gets one of the two classes."""

from __future__ import annotations

from typing import Any

from moekit.contract.answers import Answer, Item, TaskContext
from moekit.contract.tasks import Correcting
from moekit.tasks.score.threshold import PASS


def draft(answer: Answer, item: Item, context: TaskContext) -> dict[str, Any] | None:
    """The class that a verdict means; None of one that leaves it open, such as "review"."""
    del item
    meant = {PASS: 0, context.vocabulary["positive"]: 1}
    if answer.verdict not in meant:
        return None
    return {"form": "class", "classes": [context.classes[meant[answer.verdict]]]}


def margin(answer: Any, point: Any) -> float:
    """How far the score is from the threshold."""
    return abs(float(answer.score) - float(point.threshold))


CORRECTING = Correcting(form="class", loader="moekit/folder", draft=draft, margin=margin)

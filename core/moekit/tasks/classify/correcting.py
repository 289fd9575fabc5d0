"""How classes are confirmed and corrected: an image gets one class, or any number of labels."""

from __future__ import annotations

from typing import Any

from moekit.contract.answers import Answer, Item, TaskContext
from moekit.contract.tasks import Correcting
from moekit.tasks.classify.answers import BETWEEN
from moekit.tasks.classify.point import LabelPoint


def draft(answer: Answer, item: Item, context: TaskContext) -> dict[str, Any] | None:
    """The classes that an answer names; None if it names none of them."""
    del item
    known = set(context.classes)
    named = [answer.verdict] if answer.verdict in known else answer.verdict.split(BETWEEN)
    return {"form": "class", "classes": named} if known.issuperset(named) else None


def margin(answer: Any, point: Any) -> float | None:
    """By how much the most probable class is ahead; None of several labels, or without numbers."""
    if isinstance(point, LabelPoint) or len(answer.top) < 2:
        return None
    (_, first), (_, second), *_ = answer.top
    return float(first - second)


CORRECTING = Correcting(
    form="class",
    loader="moekit/folder",
    draft=draft,
    several=lambda point: isinstance(point, LabelPoint),
    margin=margin,
)

"""How scores are drawn."""

from __future__ import annotations

from PIL.Image import Image

from moekit.contract.answers import Item, TaskContext
from moekit.tasks.score.answers import ScoreAnswer
from moekit.tasks.score.overlay import draw_overlay

COLUMNS = ("score", "verdict", "threshold", "overlay", "error", "kind", "regions")


def draw(
    picture: Image, answer: ScoreAnswer, item: Item | None, context: TaskContext
) -> Image | None:
    """The heatmap over the picture; None if the head gives no map."""
    del item, context
    return None if answer.map_hw is None else draw_overlay(picture, answer.map_hw)


def caption(answer: ScoreAnswer, item: Item, context: TaskContext) -> str:
    """The score, and the label if it is known."""
    if item.sample is None:
        return f"score {answer.score:.3f}"
    return f"score {answer.score:.3f}, label {context.classes[item.sample.label]}"

"""How scores are drawn."""

from __future__ import annotations

import numpy as np
from PIL.Image import Image

from moekit.contract.answers import Item, TaskContext
from moekit.tasks.score.answers import ScoreAnswer
from moekit.tasks.score.overlay import draw_overlay

COLUMNS = ("score", "verdict", "threshold", "overlay", "error", "kind", "regions")


def draw(
    picture: Image, answer: ScoreAnswer, item: Item | None, context: TaskContext
) -> Image | None:
    """The heatmap over the picture; None if the head gives no map.

    It is transparent where the map does not reach the threshold, that is, if nothing is found.
    In a picture that is called positive and no patch of which reaches it, half of the strongest
    evidence takes the threshold's place.
    """
    del item, context
    if answer.map_hw is None:
        return None
    return draw_overlay(picture, answer.map_hw, least=_least(answer, answer.map_hw))


def _least(answer: ScoreAnswer, map_hw: np.ndarray) -> float:
    """The least evidence that counts as found."""
    strongest = float(map_hw.max(initial=0.0))
    if answer.score >= answer.threshold > strongest:
        return strongest / 2
    return min(answer.threshold, 1.0)


def caption(answer: ScoreAnswer, item: Item, context: TaskContext) -> str:
    """The score, and the label if it is known."""
    if item.sample is None:
        return f"score {answer.score:.3f}"
    return f"score {answer.score:.3f}, label {context.classes[item.sample.label]}"

"""From logits to answers: a class, or none of these, or several labels.

Shapes: B items, C classes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from moekit.contract.answers import Item, TaskContext
from moekit.contract.outputs import Outputs
from moekit.files import to_json
from moekit.tasks.classify.point import LabelPoint
from moekit.tasks.classify.refusal import refused_rows
from moekit.tasks.classify.tally import probabilities

NONE_OF_THESE, UNREADABLE = "none of these", "unreadable"
"""Verdicts that are no class."""
MOST = 5
"""Classes that a row names."""
BETWEEN = "|"
"""What stands between the labels of a verdict."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassAnswer:
    """What one item shows.

    Attributes:
        verdict: The class; the labels in the order of the classes, with `|` between them; or
            `NONE_OF_THESE`.
        top: The most probable classes and their probabilities, the most probable first; empty if
            the head gave no numbers.
        unlike: How unlike all classes the item is; None if the head does not say.
    """

    verdict: str
    top: tuple[tuple[str, float], ...]
    unlike: float | None = None

    @property
    def monitor(self) -> float | None:
        """The greatest probability."""
        return self.top[0][1] if self.top else None

    def as_row(self) -> dict[str, Any]:
        """Values of the columns, except those of files."""
        second = self.top[1] if len(self.top) > 1 else (None, None)
        return {
            "verdict": self.verdict,
            "probability": self.monitor,
            "second": second[0],
            "second_probability": second[1],
            "top": to_json(
                [[name, _rounded(value)] for name, value in self.top], ensure_ascii=False
            ),
            "unlike": self.unlike,
        }


def _rounded(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None


def merge_views(views: Sequence[Outputs]) -> Outputs:
    """The mean over views, logits in float64."""
    merged = {"logit_BC": torch.stack([view["logit_BC"].double() for view in views]).mean(0)}
    if all("unlike_B" in view for view in views):
        merged["unlike_B"] = torch.stack([view["unlike_B"] for view in views]).mean(0)
    return merged


def class_answers(
    outputs: Outputs, items: Sequence[Item], point: Any, context: TaskContext
) -> list[ClassAnswer]:
    """One answer an item.

    An item whose logits are no numbers is called none of these, so that no class is made up.

    Args:
        outputs: Merged, `logit_BC` and perhaps `unlike_B`.
        items: (B).
        point: A `ClassPoint`, a `LabelPoint`, or None for the most probable class.
        context: Holds the names of the classes.
    """
    logit_BC = outputs["logit_BC"].detach().cpu().double().numpy()
    several = isinstance(point, LabelPoint)
    finite_B = np.isfinite(logit_BC).all(1)
    probability_BC = probabilities(np.where(finite_B[:, None], logit_BC, 0.0), several=several)
    unlike_B = None
    if "unlike_B" in outputs:
        unlike_B = outputs["unlike_B"].detach().cpu().double().numpy()
    refused_B = refused_rows(point, unlike_B, len(items)) | ~finite_B
    answers = []
    for row in range(len(items)):
        order = np.argsort(-probability_BC[row], kind="stable")
        named = [(context.classes[place], float(probability_BC[row, place])) for place in order]
        if refused_B[row]:
            verdict = NONE_OF_THESE
        elif isinstance(point, LabelPoint):
            verdict = _labels(probability_BC[row], point, context.classes)
        else:
            verdict = named[0][0]
        strange = None if unlike_B is None or not np.isfinite(unlike_B[row]) else unlike_B[row]
        answers.append(
            ClassAnswer(
                verdict=verdict,
                top=tuple(named[:MOST]) if finite_B[row] else (),
                unlike=None if strange is None else float(strange),
            )
        )
    return answers


def _labels(probability_C: np.ndarray, point: LabelPoint, classes: Sequence[str]) -> str:
    """The labels in the order of the classes, so that equal sets are one verdict."""
    over = np.flatnonzero(probability_C >= point.thresholds_C).tolist()
    return BETWEEN.join(classes[place] for place in over) or NONE_OF_THESE


def unreadable_row(point: Any) -> dict[str, Any]:
    """Values of the row of an item that could not be read."""
    del point
    return {
        "verdict": UNREADABLE,
        "probability": None,
        "second": None,
        "second_probability": None,
        "top": "[]",
        "unlike": None,
    }

"""Outputs of the task `score` as verdicts with regions.

Shapes: B items, h and w rows and columns of the patch grid.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from moekit.contract.answers import Item, TaskContext
from moekit.contract.outputs import Outputs
from moekit.contract.tasks import Answering, Level
from moekit.tasks.score.image_kinds import kind_names
from moekit.tasks.score.regions import Region, find_regions
from moekit.tasks.score.threshold import UNREADABLE, OperatingPoint, verdict


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ScoreAnswer:
    """The score of one image and what it means.

    Attributes:
        score: Probability of the positive class, in [0, 1].
        verdict: The kit's word for a positive, "pass" or "review".
        threshold: Operating threshold; a score at or above it is positive.
        kind: The kind of image that the kit took it for, "unknown" for none that it was trained on;
            empty if it does not tell kinds apart.
        regions: Where the map reaches the threshold.
        map_hw: (h, w) float32 in [0, 1], or None.
    """

    score: float
    verdict: str
    threshold: float
    kind: str
    regions: list[Region]
    map_hw: np.ndarray | None

    @property
    def monitor(self) -> float:
        """The score."""
        return self.score

    def as_row(self) -> dict[str, Any]:
        """Values by the names of columns."""
        return {
            "score": self.score,
            "verdict": self.verdict,
            "threshold": self.threshold,
            "kind": self.kind,
            "regions": self.regions,
        }


def merge(views: Sequence[Outputs]) -> Outputs:
    """The mean of the log-odds over views; maps and kinds are those of the image as it is."""
    first = views[0]
    if len(views) == 1:
        return first
    logit_B = torch.stack([view["logit_B"] for view in views]).mean(0)
    return {**first, "logit_B": logit_B}


def answers(
    outputs: Outputs, items: Sequence[Item], point: OperatingPoint, context: TaskContext
) -> list[ScoreAnswer]:
    """One answer an item."""
    scores = outputs["logit_B"].double().sigmoid().tolist()
    kind_B, map_Bhw = outputs.get("kind_B"), outputs.get("map_BHW")
    kinds = [""] * len(items) if kind_B is None else kind_names(kind_B.tolist(), context.kinds)
    found = []
    for row, item in enumerate(items):
        evidence = None if map_Bhw is None else map_Bhw[row].numpy()
        found.append(
            ScoreAnswer(
                score=scores[row],
                verdict=verdict(
                    scores[row],
                    threshold=point.threshold,
                    positive=context.vocabulary["positive"],
                    review=point.review,
                    kind=kinds[row],
                ),
                threshold=point.threshold,
                kind=kinds[row],
                regions=(
                    []
                    if evidence is None
                    else find_regions(evidence, threshold=point.threshold, size=item.size)
                ),
                map_hw=evidence,
            )
        )
    return found


def unreadable(point: OperatingPoint) -> dict[str, Any]:
    """The row of an image that could not be read."""
    return {
        "score": None,
        "verdict": UNREADABLE,
        "threshold": point.threshold,
        "kind": "",
        "regions": [],
    }


def derive(outputs: Outputs) -> Outputs:
    """(B,) the probability, for graphs."""
    return {"score_B": outputs["logit_B"].sigmoid()}


def _moved(point: OperatingPoint, level: float) -> OperatingPoint:
    """The point with another threshold; a review zone that would lie above it is gone."""
    review = None if point.review is None or point.review >= level else point.review
    return dataclasses.replace(point, threshold=level, review=review)


ANSWERING = Answering(
    merge=merge,
    answers=answers,
    unreadable=unreadable,
    derive=derive,
    level=Level(of=lambda point: point.threshold, moved=_moved),
)

"""The task `score` as far as a report needs it. A stand-in until the whole task is registered."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from moekit.contract.tasks import Answering, Judge, Learn, Show, TaskSpec
from moekit.tasks.score.predictions import Predictions
from moekit.tasks.score.show import NAMES, sections


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoredScores:
    """The scores of one model on a split, as a tally.

    Attributes:
        predictions: What was stored, of kit and baseline together.
        scores: (N,) of this model.
    """

    predictions: Predictions
    scores: np.ndarray

    @property
    def ids(self) -> tuple[str, ...]:
        """(N) ids of the samples."""
        return self.predictions.ids

    @property
    def groups(self) -> tuple[str, ...] | None:
        """(N) names of groups."""
        return self.predictions.groups

    @property
    def subtypes(self) -> tuple[str, ...] | None:
        """(N) names of strata that are reported alone."""
        return self.predictions.subtypes

    @property
    def strata_N(self) -> np.ndarray:
        """(N,) labels."""
        return self.predictions.labels

    def __len__(self) -> int:
        return len(self.predictions)

    def field(self, name: str) -> Any:
        """Scores and labels."""
        return {"scores": self.scores, "labels": self.predictions.labels}.get(name)

    def take(self, rows: np.ndarray) -> StoredScores:
        """The tally of the items at these positions."""
        return StoredScores(predictions=self.predictions.take(rows), scores=self.scores[rows])

    def worst(self, point: Any) -> Mapping[str, np.ndarray]:
        """Nothing; the stand-in judges nobody."""
        del point
        return {}


def load(folder: Path, stem: str) -> tuple[StoredScores, ...]:
    """The tallies of kit and baseline from FOLDER/STEM.csv."""
    predictions = Predictions.read_csv(folder / f"{stem}.csv")
    found: Sequence[np.ndarray | None] = (predictions.scores, predictions.baseline_scores)
    return tuple(
        StoredScores(predictions=predictions, scores=scores)
        for scores in found
        if scores is not None
    )


def _missing(*_: Any, **__: Any) -> Any:
    raise NotImplementedError("the stand-in of the task only reads and shows")


SCORE = TaskSpec(
    name="score",
    summary="one number from 0 to 1 for each image",
    source="moekit",
    outputs=(),
    metrics=("auroc",),
    learn=Learn(targets=_missing, loss=_missing),
    answering=Answering(merge=_missing, answers=_missing),
    judge=Judge(tallier=_missing, save=_missing, load=load),
    show=Show(columns=("file", "error"), sections=sections, names=NAMES),
    example=_missing,
    example_head=_missing,
)

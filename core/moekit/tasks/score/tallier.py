"""Adds up a split for the task `score`.

Shapes: N samples, h and w rows and columns of the patch grid.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from moekit.contract.answers import Item, TaskContext
from moekit.contract.outputs import Outputs
from moekit.data.samples import Sample
from moekit.tasks.score.image_kinds import kind_names
from moekit.tasks.score.predictions import RECOGNISED, Places, Predictions


@dataclasses.dataclass
class _Model:
    scores: list[float] = dataclasses.field(default_factory=list)
    maps: list[np.ndarray | None] = dataclasses.field(default_factory=list)


class ScoreTallier:
    """Keeps the scores, and maps as small as heads make them.

    Args:
        context: Names the kinds of image.
        models: How many models answer.
    """

    def __init__(self, context: TaskContext, models: int) -> None:
        self._kinds = context.kinds
        self._models = [_Model() for _ in range(models)]
        self._samples: list[Sample] = []
        self._sizes: list[tuple[int, int]] = []
        self._recognised: list[str] = []

    def add(self, items: Sequence[Item], outputs: Sequence[Outputs]) -> None:
        """Takes one batch; see `moekit.contract.answers.Tallier`."""
        for item in items:
            assert item.sample is not None
            self._samples.append(item.sample)
            self._sizes.append(item.size)
        for model, given in zip(self._models, outputs, strict=True):
            model.scores.extend(given["logit_B"].double().sigmoid().tolist())
            map_Bhw = given.get("map_BHW")
            model.maps.extend([None] * len(items) if map_Bhw is None else list(map_Bhw.numpy()))
        kind_B = outputs[0].get("kind_B")
        if kind_B is not None:
            self._recognised.extend(kind_names(kind_B.tolist(), self._kinds))

    def finish(self) -> tuple[Predictions, ...]:
        """The predictions of each model."""
        done = [
            dataclasses.replace(
                Predictions.of(self._samples, np.array(model.scores)),
                places=Places(tuple(self._samples), tuple(self._sizes), tuple(model.maps)),
            )
            for model in self._models
        ]
        if self._recognised:
            done[0] = done[0].with_fact(RECOGNISED, self._recognised)
        return tuple(done)

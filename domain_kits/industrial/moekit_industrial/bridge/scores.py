"""Raw scores and maps of a fitted model, and the map that brings them between 0 and 1.

Shapes: B images, h and w rows and columns of a model's map.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from moekit import (
    DataError,
    Item,
    Outputs,
    PluginError,
    RoutingTrace,
    Sample,
    TaskContext,
)
from moekit.data import Preprocess
from moekit.evaluation import Passed, PictureSpool, pass_over
from moekit.runtime import Computed
from moekit.tasks.score import SCORE, Places, Predictions
from moekit_industrial.bridge.library import AnomalibModule, first_line, quiet
from moekit_industrial.bridge.resources import Clock, Used

LONGEST_MAP = 224
"""Rows or columns of the longer side of a kept map, at most; larger ones are averaged."""


class RawModel:
    """A fitted model as what computes batches, past anomalib's normalisation and its clamping.

    Args:
        model: In eval mode.
        device: Where it lies.

    Attributes:
        used: Time in the model.
    """

    def __init__(self, model: AnomalibModule, device: torch.device) -> None:
        self._model, self._device = model, device
        self.used = Used()

    def __call__(self, images: Tensor, *, trace: RoutingTrace | None = None) -> Computed:
        """See `moekit.runtime.Compute`; the outputs are raw, and there is no routing to report."""
        del trace
        clock = Clock()
        raw_B, map_BHW = raw_output(self._model, images.to(self._device))
        took = clock.read()
        self.used += took
        outputs = {"raw_B": raw_B} if map_BHW is None else {"raw_B": raw_B, "map_BHW": map_BHW}
        return Computed(outputs=(outputs,), seconds=took.seconds)


class RawTallier:
    """Keeps raw scores and maps as the model gives them.

    Args:
        context: Not needed.
        models: There is one.
    """

    def __init__(self, context: TaskContext, models: int) -> None:
        del context, models
        self._items: list[Item] = []
        self._scores: list[float] = []
        self._maps: list[np.ndarray | None] = []

    def add(self, items: Sequence[Item], outputs: Sequence[Outputs]) -> None:
        """Takes one batch."""
        (raw,) = outputs
        self._items.extend(items)
        self._scores.extend(raw["raw_B"].tolist())
        map_BHW = raw.get("map_BHW")
        self._maps.extend([None] * len(items) if map_BHW is None else list(map_BHW.numpy()))

    def finish(self) -> tuple[Predictions]:
        """The raw scores as predictions, with their maps."""
        samples = tuple(item.sample for item in self._items if item.sample is not None)
        places = Places(samples, tuple(item.size for item in self._items), tuple(self._maps))
        scored = Predictions.of(samples, np.array(self._scores))
        return (dataclasses.replace(scored, places=places),)


RAW = dataclasses.replace(SCORE, judge=dataclasses.replace(SCORE.judge, tallier=RawTallier))
"""The task `score` before its scores lie between 0 and 1."""


def score_raw(
    compute: RawModel,
    samples: Sequence[Sample],
    preprocess: Preprocess,
    *,
    context: TaskContext,
    batch_size: int,
    on_progress: Callable[[int, int], None],
    spool: PictureSpool | None = None,
) -> Passed:
    """Scores samples; the tally of the pass holds the raw scores and maps, `spool` the pictures.

    Raises:
        DataError: Not one image could be read, or a score is not a number.
        PluginError: The model fails, or gives no scores.
    """
    passed = pass_over(
        samples,
        compute,
        preprocess,
        task=RAW,
        context=context,
        models=1,
        batch_size=batch_size,
        on_progress=on_progress,
        spool=spool,
    )
    if not passed.items:
        raise DataError(
            "not one image of the split could be read",
            whose="the data",
            fix=f"check the images; the first fault: {passed.skipped[0].reason}",
            code="data/none-readable",
        )
    values = passed.tallies[0].scores
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values))[0])
        raise DataError(
            f"the model scores an image {values[row]}, which is not a finite number",
            whose=passed.items[row].id,
            fix="fit the model with other arguments",
            code="data/bad-scores",
        )
    return passed


@torch.no_grad()
def raw_output(model: AnomalibModule, images: Tensor) -> tuple[Tensor, Tensor | None]:
    """Scores (B,) float64 and maps (B, h, w) float32, or None, of normalised images, on the CPU.

    Raises:
        PluginError: The model fails, or gives no scores.
    """
    try:
        with quiet():
            output = model(images)
        score_B = output.pred_score.detach().double().reshape(len(images)).cpu()
        found = output.anomaly_map
    except Exception as error:  # a model may raise anything
        raise PluginError(
            f"{type(model).__name__} gives no score for an image "
            f"({type(error).__name__}: {first_line(error)})",
            whose="anomalib",
            fix="change the model's arguments (--set), or choose another model",
            code="plugin/model-failed",
        ) from error
    if found is None:
        return score_B, None
    map_B1HW = found.detach().float().reshape(len(images), 1, *found.shape[-2:])
    longest = max(map_B1HW.shape[-2:])
    if longest > LONGEST_MAP:
        height, width = (max(1, round(n * LONGEST_MAP / longest)) for n in map_B1HW.shape[-2:])
        map_B1HW = functional.adaptive_avg_pool2d(map_B1HW, (height, width))
    return score_B, map_B1HW[:, 0].cpu()


@dataclasses.dataclass(frozen=True, kw_only=True)
class UnitMap:
    """A strictly rising map of all numbers into (0, 1), so that ranks stay what they are.

    z = (score - centre) / scale becomes (1 + z / (1 + |z|)) / 2. Nothing is clamped: two scores
    that differ stay different, to the precision of the numbers.

    Attributes:
        centre: The score that becomes 0.5.
        scale: Greater than 0.
    """

    centre: float
    scale: float

    @classmethod
    def of(cls, values: np.ndarray) -> UnitMap:
        """Centre and scale from scores of good validation parts: median and quartile distance.

        Args:
            values: Finite, any shape, not empty.
        """
        low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
        scale = float(high - low) or float(np.abs(values).max()) or 1.0
        return cls(centre=float(middle), scale=scale)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Values in (0, 1), float64, of the shape that is given."""
        z = (np.asarray(values, dtype=np.float64) - self.centre) / self.scale
        mapped: np.ndarray = (1 + z / (1 + np.abs(z))) / 2
        return mapped

    def inverse(self, value: float) -> float:
        """The raw score behind a value in (0, 1)."""
        y = 2 * value - 1
        return self.centre + self.scale * y / (1 - abs(y))


def in_unit(raw: Predictions, score_map: UnitMap, pixel_map: UnitMap | None) -> Predictions:
    """Raw scores and maps brought between 0 and 1, as float64; without `pixel_map` no maps."""
    assert raw.places is not None
    maps = tuple(
        None if one is None or pixel_map is None else pixel_map(one) for one in raw.places.maps
    )
    return dataclasses.replace(
        raw, scores=score_map(raw.scores), places=raw.places._replace(maps=maps)
    )

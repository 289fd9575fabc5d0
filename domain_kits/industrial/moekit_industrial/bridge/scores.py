"""Raw scores and maps of a fitted model, and the map that brings them between 0 and 1.

Shapes: B images, h and w rows and columns of a model's map.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.nn import functional

from moekit import DataError, PluginError, Sample, Skipped
from moekit.data.stream import Preprocess
from moekit.runtime.predictor import Scores
from moekit.tasks.score.masks import Size
from moekit.tasks.score.scoring import score_samples
from moekit_industrial.bridge.library import AnomalibModule, quiet
from moekit_industrial.bridge.resources import Clock, Used

LONGEST_MAP = 224
"""Rows or columns of the longer side of a kept map, at most; larger ones are averaged."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RawScores:
    """What a model says of the samples that could be read, in their order.

    Attributes:
        samples: (n) those samples.
        sizes: (n) rows and columns of their images.
        scores: (n,) float64, as the model gives them.
        maps: (n) float32 maps as the model gives them, at most `LONGEST_MAP` a side; None each
            where it gives none.
        skipped: The others, and why.
        used: Time in the model.
    """

    samples: list[Sample]
    sizes: list[Size]
    scores: np.ndarray
    maps: list[np.ndarray | None]
    skipped: list[Skipped]
    used: Used


def score_raw(
    model: AnomalibModule,
    samples: Sequence[Sample],
    preprocess: Preprocess,
    *,
    device: torch.device,
    batch_size: int,
    on_progress: Callable[[int, int], None],
) -> RawScores:
    """Scores samples with the model itself, past anomalib's normalisation and its clamping.

    Raises:
        DataError: Not one image could be read, or a score is not a number.
        PluginError: The model fails, or gives no scores.
    """
    used = Used()

    def score(images: torch.Tensor) -> Scores:
        nonlocal used
        clock = Clock()
        score_B, map_BHW = raw_output(model, images.to(device))
        took = clock.read()
        used += took
        return Scores(
            score_B=score_B,
            map_BHW=map_BHW,
            baseline_B=None,
            baseline_map_BHW=None,
            seconds=took.seconds,
        )

    scored = score_samples(
        samples, score, preprocess, batch_size=batch_size, on_progress=on_progress
    )
    if not scored.samples:
        raise DataError(
            "not one image of the split could be read",
            whose="the data",
            fix=f"check the images; the first fault: {scored.skipped[0].reason}",
        )
    values = scored.scores
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values))[0])
        raise DataError(
            f"the model scores an image {values[row]}, which is not a finite number",
            whose=scored.samples[row].id,
            fix="fit the model with other arguments",
        )
    return RawScores(
        samples=scored.samples,
        sizes=scored.sizes,
        scores=values,
        maps=scored.maps,
        skipped=scored.skipped,
        used=used,
    )


@torch.no_grad()
def raw_output(
    model: AnomalibModule, images: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor | None]:
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
            f"({type(error).__name__}: {(str(error).splitlines() or [''])[0][:300]})",
            whose="anomalib",
            fix="change the model's arguments (--set), or choose another model",
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

"""Scores and maps of the samples of a split, as far as their images can be read."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from moekit.data.samples import Sample, Skipped
from moekit.data.stream import Preprocess, image_batches
from moekit.runtime.predictor import Scorer
from moekit.tasks.score.masks import Size


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scored:
    """What a predictor says of the samples that could be read, in their order.

    Attributes:
        samples: (n) those samples.
        sizes: (n) rows and columns of their images.
        scores: (n,) float64 in [0, 1] of the kit.
        baseline_scores: (n,) the same of the baseline; empty where there is none.
        maps: (n) the kit's (h, w) maps, or None each.
        baseline_maps: (n) the same of the baseline.
        kinds: (n) names of the kinds that the kit tells; empty where it tells none.
        skipped: The others, and why.
        seconds: Time that the kit took.
    """

    samples: list[Sample]
    sizes: list[Size]
    scores: np.ndarray
    baseline_scores: np.ndarray
    maps: list[np.ndarray | None]
    baseline_maps: list[np.ndarray | None]
    kinds: list[str]
    skipped: list[Skipped]
    seconds: float


def score_samples(
    samples: Sequence[Sample],
    predictor: Scorer,
    preprocess: Preprocess,
    *,
    batch_size: int,
    on_progress: Callable[[int, int], None],
) -> Scored:
    """Scores samples batch by batch; the maps are kept as small as they are.

    Args:
        samples: What to score.
        predictor: The trained kit.
        preprocess: How images are read.
        batch_size: Samples a forward pass.
        on_progress: Called with the samples done and their total.
    """
    read: list[Sample] = []
    sizes: list[Size] = []
    scores: list[float] = []
    baseline: list[float] = []
    maps: list[np.ndarray | None] = []
    baseline_maps: list[np.ndarray | None] = []
    kinds: list[str] = []
    skipped: list[Skipped] = []
    seconds = 0.0
    inputs = [(sample.id, sample.path) for sample in samples]
    for batch in image_batches(inputs, preprocess, batch_size=batch_size):
        skipped.extend(_described(batch.skipped, samples))
        if batch.rows:
            output = predictor(batch.images)
            seconds += output.seconds
            read.extend(samples[row] for row in batch.rows)
            sizes.extend(batch.sizes)
            scores.extend(output.score_B.tolist())
            baseline.extend(output.baseline_B.tolist() if output.baseline_B is not None else [])
            kinds.extend(output.kinds or ())
            maps.extend(_split(output.map_BHW, len(batch.rows)))
            baseline_maps.extend(_split(output.baseline_map_BHW, len(batch.rows)))
        on_progress(len(read) + len(skipped), len(samples))
    return Scored(
        samples=read,
        sizes=sizes,
        scores=np.array(scores),
        baseline_scores=np.array(baseline),
        maps=maps,
        baseline_maps=baseline_maps,
        kinds=kinds,
        skipped=skipped,
        seconds=seconds,
    )


def _split(map_BHW: Tensor | None, count: int) -> Sequence[np.ndarray | None]:
    return [None] * count if map_BHW is None else list(map_BHW.numpy())


def _described(skipped: Sequence[Skipped], samples: Sequence[Sample]) -> list[Skipped]:
    """Skipped images with what is known of their samples, so that they can be counted as missed."""
    if not skipped:
        return []
    known = {sample.id: sample for sample in samples}
    return [Skipped.of(known[skip.id], skip.reason) for skip in skipped]

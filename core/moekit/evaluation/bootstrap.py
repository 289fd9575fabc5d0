"""Bootstrap intervals: percentile, by image within classes or by whole groups.

Efron and Tibshirani 1993, chapter 13; resampling of clusters as in Field and Welsh 2007, Journal of
the Royal Statistical Society B 69(3):369-390.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from moekit.data.predictions import Predictions

RESAMPLES = 1000
_TRIES = 20


class Resamples:
    """Row numbers of bootstrap samples, drawn once and shared by all metrics of a split.

    Without groups, positives and negatives are drawn separately, so that each sample holds both.
    With groups, whole groups are drawn; a sample of one class only is drawn again, up to twenty
    times, and then left out.

    Args:
        predictions: What is resampled.
        seed: Of the draws.
        count: How many samples.
    """

    def __init__(self, predictions: Predictions, *, seed: int, count: int = RESAMPLES) -> None:
        generator = np.random.default_rng(seed)
        draw = _by_class if predictions.groups is None else _by_group
        self.rows = draw(predictions, generator, count)
        self.clustered = predictions.groups is not None

    def interval(self, statistic: Callable[[np.ndarray], float]) -> tuple[float, float] | None:
        """The 95% percentile interval of a statistic of row numbers; None where it is undefined."""
        values = np.array([statistic(rows) for rows in self.rows])
        values = values[np.isfinite(values)]
        if len(values) < len(self.rows) / 2 or not len(values):
            return None
        low, high = np.quantile(values, [0.025, 0.975])
        return float(low), float(high)


def _by_class(
    predictions: Predictions, generator: np.random.Generator, count: int
) -> list[np.ndarray]:
    classes = [np.flatnonzero(predictions.labels == label) for label in (0, 1)]
    return [
        np.concatenate([generator.choice(rows, size=len(rows)) for rows in classes if len(rows)])
        for _ in range(count)
    ]


def _by_group(
    predictions: Predictions, generator: np.random.Generator, count: int
) -> list[np.ndarray]:
    names, group_of = np.unique(np.array(predictions.groups), return_inverse=True)
    members = [np.flatnonzero(group_of == number) for number in range(len(names))]
    both = len(np.unique(predictions.labels)) == 2
    samples = []
    for _ in range(count):
        for _ in range(_TRIES):
            drawn = generator.integers(len(members), size=len(members))
            rows = np.concatenate([members[number] for number in drawn])
            if not both or len(np.unique(predictions.labels[rows])) == 2:
                samples.append(rows)
                break
    return samples

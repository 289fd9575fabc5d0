"""Bootstrap intervals: percentile, by image within classes or by whole groups.

Efron and Tibshirani 1993, chapter 13; resampling of clusters as in Field and Welsh 2007, Journal of
the Royal Statistical Society B 69(3):369-390.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from moekit.tasks.score.predictions import Predictions

RESAMPLES = 2000
_LEAST_DEFINED = 0.95


class Resamples:
    """Row numbers of bootstrap samples: the same ones for every metric and model of a split.

    Where images stand alone, positives and negatives are drawn separately, so that each sample
    holds both. Where images share groups, whole groups are drawn; a sample that lacks a class of
    the split is drawn again, and counted. An image with an empty group name stands alone.

    The samples are drawn anew from the seed at each pass, which costs little and keeps no
    (count, n) table in memory.

    Args:
        predictions: What is resampled.
        seed: Of the draws.
        count: How many samples.
    """

    def __init__(self, predictions: Predictions, *, seed: int, count: int = RESAMPLES) -> None:
        self.count = count
        self.redrawn = 0
        self._labels = predictions.labels
        self._seed = seed
        lone = np.arange(len(predictions))
        self._group_of = lone if predictions.groups is None else number_groups(predictions.groups)
        self._groups = int(self._group_of.max(initial=-1)) + 1
        self.clustered = self._groups < len(predictions)

    @property
    def fixed(self) -> bool:
        """Whether nothing can vary, because there is one group or no image."""
        return self._groups < 2

    def __iter__(self) -> Iterator[np.ndarray]:
        generator = np.random.default_rng(self._seed)
        self.redrawn = 0
        draw = self._by_group if self.clustered else self._by_class
        return (draw(generator) for _ in range(self.count))

    def values(self, statistic: Callable[[np.ndarray], float]) -> np.ndarray:
        """(count,) float64: a statistic of each sample's row numbers; nan where all is fixed."""
        if self.fixed:
            return np.full(self.count, np.nan)
        return np.array([statistic(rows) for rows in self])

    def interval(self, statistic: Callable[[np.ndarray], float]) -> tuple[float, float] | None:
        """The 95% percentile interval of a statistic of row numbers; None where it is undefined."""
        return percentile_interval(self.values(statistic))

    def _by_class(self, generator: np.random.Generator) -> np.ndarray:
        classes = [np.flatnonzero(self._labels == label) for label in (0, 1)]
        return np.concatenate(
            [rows[generator.integers(0, len(rows), len(rows))] for rows in classes if len(rows)]
        )

    def _by_group(self, generator: np.random.Generator) -> np.ndarray:
        classes = len(np.unique(self._labels))
        while True:
            drawn = generator.integers(self._groups, size=self._groups)
            times = np.bincount(drawn, minlength=self._groups)
            rows = np.repeat(np.arange(len(self._labels)), times[self._group_of])
            if len(np.unique(self._labels[rows])) == classes:
                return rows
            self.redrawn += 1


def percentile_interval(values: np.ndarray) -> tuple[float, float] | None:
    """The middle 95% of bootstrap values; None where more than 5% of them are undefined.

    Args:
        values: (count,) float64, nan where undefined.
    """
    defined = values[np.isfinite(values)]
    if not len(defined) or len(defined) < _LEAST_DEFINED * len(values):
        return None
    low, high = np.quantile(defined, [0.025, 0.975])
    return float(low), float(high)


def number_groups(names: Sequence[str]) -> np.ndarray:
    """(n,) int64 group numbers from 0; each empty name is a group of its own."""
    numbers: dict[str | int, int] = {}
    keys = (name or row for row, name in enumerate(names))
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)

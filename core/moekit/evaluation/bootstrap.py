"""Bootstrap intervals: percentile, by image within classes or by whole groups.

Efron and Tibshirani 1993, chapter 13; resampling of clusters as in Field and Welsh 2007, Journal of
the Royal Statistical Society B 69(3):369-390.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from moekit.contract.answers import Tally

RESAMPLES = 2000
_LEAST_DEFINED = 0.95
_REDRAWN = 2
"""With more strata than that no sample of groups is expected to hold them all."""

_KEPT = 2_000_000
"""Row numbers that are kept from one pass to the next, 16 MB; more are drawn again."""


class Resamples:
    """Row numbers of bootstrap samples: the same ones for every metric and model of a split.

    If items stand alone, each stratum is drawn separately, so that each sample holds as many of it
    as the split. If items share groups, whole groups are drawn; with one or two strata a sample
    that lacks one is drawn again, and counted. An item with an empty group name stands alone.

    Each pass gives the same samples. Those of a small split are kept from the first pass on, those
    of a large one are drawn again from the seed, so that no large (count, n) table is in memory.

    Args:
        tally: What is resampled.
        seed: Of the draws.
        count: How many samples; `RESAMPLES` if None.
    """

    def __init__(self, tally: Tally, *, seed: int, count: int | None = None) -> None:
        self.count = RESAMPLES if count is None else count
        self.redrawn = 0
        self._strata_N = tally.strata_N
        self._seed = seed
        lone = np.arange(len(tally))
        self._group_of = lone if tally.groups is None else number_groups(tally.groups)
        self._groups = int(self._group_of.max(initial=-1)) + 1
        self.clustered = self._groups < len(tally)
        values = np.unique(self._strata_N)
        self._rows_of = [np.flatnonzero(self._strata_N == value) for value in values]
        self._kept: list[np.ndarray] = []

    @property
    def fixed(self) -> bool:
        """Whether nothing can vary, because there is one group or no image."""
        return self._groups < 2

    @property
    def units(self) -> int:
        """How many independent items or groups the smallest stratum has."""
        pairs = np.unique(np.stack([self._strata_N, self._group_of]), axis=1)
        return int(np.unique(pairs[0], return_counts=True)[1].min(initial=len(self._strata_N)))

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(self._kept) if self._kept else self._drawn()

    def _drawn(self) -> Iterator[np.ndarray]:
        generator = np.random.default_rng(self._seed)
        self.redrawn = 0
        draw = self._by_group if self.clustered else self._by_stratum
        kept: list[np.ndarray] = []
        room = _KEPT
        for _ in range(self.count):
            rows = draw(generator)
            rows.flags.writeable = False
            room -= len(rows)
            if room >= 0:
                kept.append(rows)
            yield rows
        if room >= 0:
            self._kept = kept

    def values(self, statistic: Callable[[np.ndarray], float]) -> np.ndarray:
        """(count,) float64: a statistic of each sample's row numbers; nan if all is fixed."""
        if self.fixed:
            return np.full(self.count, np.nan)
        return np.array([statistic(rows) for rows in self])

    def interval(self, statistic: Callable[[np.ndarray], float]) -> tuple[float, float] | None:
        """The 95% percentile interval of a statistic of row numbers; None if it is undefined."""
        return percentile_interval(self.values(statistic))

    def _by_stratum(self, generator: np.random.Generator) -> np.ndarray:
        return np.concatenate(
            [rows[generator.integers(0, len(rows), len(rows))] for rows in self._rows_of]
        )

    def _by_group(self, generator: np.random.Generator) -> np.ndarray:
        strata = len(self._rows_of)
        while True:
            drawn = generator.integers(self._groups, size=self._groups)
            times = np.bincount(drawn, minlength=self._groups)
            rows = np.repeat(np.arange(len(self._strata_N)), times[self._group_of])
            if strata > _REDRAWN or len(np.unique(self._strata_N[rows])) == strata:
                return rows
            self.redrawn += 1


def percentile_interval(values: np.ndarray) -> tuple[float, float] | None:
    """The middle 95% of bootstrap values; None if more than 5% of them are undefined.

    Args:
        values: (count,) float64, nan if undefined.
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

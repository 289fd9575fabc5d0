"""Scores crops: all of them by one view, and by more views those whose verdict that may change.

Most candidates are vessels, and one view says so. The others are scored by more views, the
likeliest first, until one view puts the next so far below the threshold that its other views would
have to disagree `SLACK` times as much as those of any crop of the series did. In the same way two
views settle some of the others.

Shapes: N crops, T frames, S pixels a side.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from scipy import special  # type: ignore[import-untyped]

from moekit_medical.inference.failures import BadAnswersError

LEAST = 64
"""Crops of a series that are scored by all views at least: from fewer nothing is concluded."""
SLACK = 1.5
"""On two chests four views disagreed with the first by at most 3.8 in log-odds, with a standard
deviation of 1.0. Two views that are independent disagree with the first by 0.82 times as much."""
_EDGE = 1e-12


class Scorer(Protocol):
    """Gives each crop the probability of a nodule."""

    def __call__(self, crops_NSS: np.ndarray) -> np.ndarray:
        """Scores crops.

        Args:
            crops_NSS: (N, S, S) uint8, as `cut_crops` gives them; or stacks (N, T, S, S), as
                `cut_stacks` does, if `run_inference` gets T frames.

        Returns:
            (N,) float64 in [0, 1].
        """
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scores:
    """What crops were scored.

    Attributes:
        score_N: (N,) float64 in [0, 1].
        by_N: (N,) int, the place of the scorer that gave it.
        scorers: How many there were.
    """

    score_N: np.ndarray
    by_N: np.ndarray
    scorers: int

    @property
    def by_one_view_N(self) -> np.ndarray:
        """(N,) bool, whether it is the score of one view of several."""
        return np.asarray((self.by_N == 0) & (self.scorers > 1))

    @property
    def by_all_N(self) -> np.ndarray:
        """(N,) bool, whether it is the score of all views."""
        return np.asarray(self.by_N == self.scorers - 1)


def score_crops(
    crops_NSS: np.ndarray,
    *,
    scorers: Sequence[Scorer],
    threshold: float,
    batch_size: int,
    progress: Callable[[int], None],
) -> Scores:
    """Scores the crops of a series.

    Args:
        crops_NSS: (N, S, S) or (N, T, S, S) uint8.
        scorers: By one view, by more and more of them, and last by all; at least one.
        threshold: Least score of a finding.
        batch_size: Crops a call.
        progress: Called with how many are done.

    Raises:
        BadAnswersError: A scorer gives something else than a probability for each crop.
    """
    count = len(crops_NSS)
    levels = _Levels(crops_NSS, scorers if count > LEAST else scorers[-1:])
    passes = min(len(levels.scorers), 2)
    for rows in _batches(np.arange(count), batch_size):
        levels.score(0, rows)
        progress((int(rows[-1]) + 1) // passes)
    if passes == 1:
        return levels.scores()
    needed, done = float(_log_odds(np.asarray(threshold))), 0
    for rows in _batches(np.argsort(-levels.seen_KN[0], kind="stable"), batch_size):
        if done >= LEAST and not levels.may_reach(needed, 0, rows[:1]).any():
            break
        undecided = rows
        for place in range(1, len(levels.scorers)):
            if place > 1 and done >= LEAST:
                undecided = undecided[levels.may_reach(needed, place - 1, undecided)]
            levels.score(place, undecided)
        done += len(rows)
        progress((count + done) // 2)
    progress(count)
    return levels.scores()


class _Levels:
    """The log-odds of crops by each of K scorers, as far as they were asked."""

    def __init__(self, crops_NSS: np.ndarray, scorers: Sequence[Scorer]) -> None:
        self.scorers = scorers
        self.seen_KN = np.full((len(scorers), len(crops_NSS)), np.nan)
        self._crops_NSS = crops_NSS
        self._score_N = np.zeros(len(crops_NSS))
        self._by_N = np.zeros(len(crops_NSS), dtype=int)

    def score(self, place: int, rows: np.ndarray) -> None:
        """Asks the scorer at a place for some crops."""
        if not len(rows):
            return
        self._score_N[rows] = _scored(self.scorers[place], self._crops_NSS, rows)
        self._by_N[rows] = place
        self.seen_KN[place, rows] = _log_odds(self._score_N[rows])

    def may_reach(self, needed: float, place: int, rows: np.ndarray) -> np.ndarray:
        """(M,) bool, whether later scorers may see that log-odds in M crops."""
        later_N = self._by_N > place
        away_N = np.abs(_log_odds(self._score_N) - self.seen_KN[place])[later_N]
        return np.asarray(self.seen_KN[place, rows] + SLACK * away_N.max(initial=0.0) >= needed)

    def scores(self) -> Scores:
        """What crops were scored, each by the last scorer that was asked."""
        return Scores(score_N=self._score_N, by_N=self._by_N, scorers=len(self.scorers))


def _batches(rows: np.ndarray, size: int) -> list[np.ndarray]:
    return [rows[first : first + size] for first in range(0, len(rows), size)]


def _scored(scorer: Scorer, crops_NSS: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """float64 scores of some rows, checked; the scorer gets pixels of its own."""
    given_N = np.asarray(scorer(crops_NSS[rows]), dtype=np.float64)
    if given_N.shape != rows.shape:
        raise BadAnswersError("the scorer gave not one score for each crop")
    if not ((given_N >= 0) & (given_N <= 1)).all():
        raise BadAnswersError("the scorer gave scores that are not in [0, 1]")
    return given_N


def _log_odds(score_N: np.ndarray) -> np.ndarray:
    return np.asarray(special.logit(np.clip(score_N, _EDGE, 1 - _EDGE)))

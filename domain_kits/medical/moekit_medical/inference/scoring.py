"""Scores crops: all of them by one view, and by all views those whose verdict that may change.

Most candidates are vessels, and one view says so. The others are scored again by all views, the
likeliest first, until one view puts the next so far below the threshold that its other views would
have to disagree `SLACK` times as much as those of any crop of the series that was scored by all.

Shapes: N crops, T frames, S pixels a side.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Protocol

import numpy as np
from scipy import special  # type: ignore[import-untyped]

from moekit_medical.inference.failures import BadAnswersError

LEAST = 64
"""Crops of a series that are scored by all views at least: from fewer nothing is concluded."""
SLACK = 1.25
"""On two chests views disagreed by at most 3.8 in log-odds, with a standard deviation of 1.0."""
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
        by_one_view_N: (N,) bool, whether that is the score of one view.
    """

    score_N: np.ndarray
    by_one_view_N: np.ndarray


def score_crops(
    crops_NSS: np.ndarray,
    *,
    scorer: Scorer,
    glance: Scorer | None,
    threshold: float,
    batch_size: int,
    progress: Callable[[int], None],
) -> Scores:
    """Scores the crops of a series.

    Args:
        crops_NSS: (N, S, S) or (N, T, S, S) uint8.
        scorer: By all views.
        glance: By one view; None if there is no other.
        threshold: Least score of a finding.
        batch_size: Crops a call.
        progress: Called with how many are done.

    Raises:
        BadAnswersError: A scorer gives something else than a probability for each crop.
    """
    count = len(crops_NSS)
    scores = Scores(score_N=np.zeros(count), by_one_view_N=np.zeros(count, dtype=bool))
    first, passes = (scorer, 1) if glance is None or count <= LEAST else (glance, 2)
    for rows in _batches(np.arange(count), batch_size):
        scores.score_N[rows] = _scored(first, crops_NSS, rows)
        progress((int(rows[-1]) + 1) // passes)
    if passes == 1:
        return scores
    scores.by_one_view_N[:] = True
    seen_N = _log_odds(scores.score_N)
    order = np.argsort(-seen_N, kind="stable")
    needed, widest, done = _log_odds(np.asarray(threshold)), 0.0, 0
    for rows in _batches(order, batch_size):
        if done >= LEAST and seen_N[rows[0]] + SLACK * widest < needed:
            break
        scores.score_N[rows] = _scored(scorer, crops_NSS, rows)
        scores.by_one_view_N[rows] = False
        widest = max(widest, float(np.abs(_log_odds(scores.score_N[rows]) - seen_N[rows]).max()))
        done += len(rows)
        progress((count + done) // 2)
    progress(count)
    return scores


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

"""Candidates for a threshold, what each would do, and which is best by a measure.

Shapes: m candidates.
"""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Counts:
    """Confusion counts at each candidate threshold, all (m,)."""

    true_positives: np.ndarray
    false_positives: np.ndarray
    positives: int
    negatives: int


def candidates_of(scores: np.ndarray) -> np.ndarray:
    """(m,) thresholds on the least score, halfway between neighbours, beyond the greatest."""
    unique = np.unique(scores)
    between = (unique[1:] + unique[:-1]) / 2
    return np.concatenate([[unique[0]], between, [np.nextafter(unique[-1], np.inf)]])


def count_at(scores: np.ndarray, labels: np.ndarray, candidates: np.ndarray) -> Counts:
    """What each candidate would do to (n,) scores with (n,) labels in {0, 1}."""
    positive, negative = np.sort(scores[labels == 1]), np.sort(scores[labels == 0])
    return Counts(
        true_positives=len(positive) - np.searchsorted(positive, candidates, side="left"),
        false_positives=len(negative) - np.searchsorted(negative, candidates, side="left"),
        positives=len(positive),
        negatives=len(negative),
    )


def _accuracy(counts: Counts) -> np.ndarray:
    true_negatives = counts.negatives - counts.false_positives
    right = counts.true_positives + true_negatives
    return np.asarray(right / (counts.positives + counts.negatives))


def _f1(counts: Counts) -> np.ndarray:
    called = counts.true_positives + counts.false_positives
    return np.asarray(2 * counts.true_positives / np.maximum(called + counts.positives, 1))


def _youden(counts: Counts) -> np.ndarray:
    value: np.ndarray = (
        counts.true_positives / counts.positives - counts.false_positives / counts.negatives
    )
    return value


MEASURES = {"accuracy": _accuracy, "f1": _f1, "youden": _youden}


def middle_of_best(values: np.ndarray) -> int:
    """The middle of the longest run of best values."""
    best = np.flatnonzero(values >= values.max() - 1e-12)
    runs = np.split(best, np.flatnonzero(np.diff(best) > 1) + 1)
    longest = max(runs, key=len)
    return int(longest[len(longest) // 2])

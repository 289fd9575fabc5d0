"""Curves and tables over all thresholds, thinned for a page."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from moekit.evaluation.bootstrap import Resamples

Points = list[tuple[float, float]]
Band = Sequence[tuple[float, float, float]]
MOST_POINTS = 200
TABLE_MISSES = (0.0, 0.01, 0.02, 0.05, 0.10, 0.15, 0.20, 0.30)
_BAND_AT = np.linspace(0, 1, 51)


def roc_points(scores: np.ndarray, labels: np.ndarray) -> Points:
    """False positive rate and true positive rate from (0, 0) to (1, 1)."""
    return _thin(*_roc(scores, labels))


def precision_recall_points(scores: np.ndarray, labels: np.ndarray) -> Points:
    """Recall and precision, from the strictest threshold to the loosest."""
    return _thin(*_precision_recall(scores, labels))


def roc_band(scores: np.ndarray, labels: np.ndarray, drawn: Resamples) -> Band:
    """Pointwise 95% interval of the true positive rate at false positive rates from 0 to 1.

    Vertical averaging over resamples (Fawcett 2006, Pattern Recognition Letters 27:861-874).

    Returns:
        Rate, low and high; empty if nothing can vary.
    """
    return _band(scores, labels, drawn, lambda x, y: np.interp(_BAND_AT, x, y))


def precision_recall_band(scores: np.ndarray, labels: np.ndarray, drawn: Resamples) -> Band:
    """Pointwise 95% interval of the precision at recalls from 0 to 1; see `roc_band`."""

    def at_recall(recall: np.ndarray, precision: np.ndarray) -> np.ndarray:
        reached: np.ndarray = precision[np.searchsorted(recall, _BAND_AT - 1e-12)]
        return reached

    drawn_band = _band(scores, labels, drawn, at_recall, curve=_precision_recall)
    return drawn_band[1:]  # at recall 0 nothing is called, and precision has no meaning


def threshold_table(scores: np.ndarray, labels: np.ndarray) -> list[dict[str, float]]:
    """For some shares of missed positives, the highest threshold that keeps to the share.

    These are read off the reported split: they describe it, and are no way to choose a threshold.
    Shares that come to the same threshold make one row.
    """
    positive, negative = np.sort(scores[labels == 1]), scores[labels == 0]
    allowed = (int(share * len(positive) + 1e-9) for share in TABLE_MISSES)
    thresholds = dict.fromkeys(float(positive[missed]) for missed in allowed)
    return [counts_at(threshold, positive, negative) for threshold in thresholds]


def counts_at(threshold: float, positive: np.ndarray, negative: np.ndarray) -> dict[str, float]:
    """Missed positives and false alarms at a threshold, as counts and shares."""
    missed, alarms = int((positive < threshold).sum()), int((negative >= threshold).sum())
    return {
        "threshold": threshold,
        "missed": missed,
        "missed_rate": missed / len(positive),
        "false_alarms": alarms,
        "false_alarm_rate": alarms / len(negative),
    }


def _roc(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    hits, alarms = _cumulative(scores, labels)
    x = np.concatenate([[0.0], alarms / max(alarms[-1], 1)])
    return x, np.concatenate([[0.0], hits / max(hits[-1], 1)])


def _precision_recall(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    hits, alarms = _cumulative(scores, labels)
    return hits / max(hits[-1], 1), hits / (hits + alarms)


def _band(
    scores: np.ndarray,
    labels: np.ndarray,
    drawn: Resamples,
    on_grid: Callable[[np.ndarray, np.ndarray], np.ndarray],
    *,
    curve: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]] = _roc,
) -> Band:
    if drawn.fixed:
        return ()
    curves = np.stack([on_grid(*curve(scores[rows], labels[rows])) for rows in drawn])
    low, high = np.quantile(curves, [0.025, 0.975], axis=0)
    return list(zip(_BAND_AT.tolist(), low.tolist(), high.tolist(), strict=True))


def _cumulative(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    hits = np.cumsum(labels[order])[ends]
    return hits, ends + 1 - hits


def _thin(x: np.ndarray, y: np.ndarray) -> Points:
    rows = np.unique(np.linspace(0, len(x) - 1, MOST_POINTS).round().astype(int))
    return [(float(x[row]), float(y[row])) for row in rows]

"""Curves and tables over all thresholds, thinned for a page."""

from __future__ import annotations

import numpy as np

Points = list[tuple[float, float]]
MOST_POINTS = 200
TABLE_MISSES = (0.0, 0.01, 0.02, 0.05, 0.10, 0.15, 0.20, 0.30)


def roc_points(scores: np.ndarray, labels: np.ndarray) -> Points:
    """False positive rate and true positive rate from (0, 0) to (1, 1)."""
    hits, alarms = _cumulative(scores, labels)
    x = np.concatenate([[0.0], alarms / max(alarms[-1], 1)])
    y = np.concatenate([[0.0], hits / max(hits[-1], 1)])
    return _thin(x, y)


def precision_recall_points(scores: np.ndarray, labels: np.ndarray) -> Points:
    """Recall and precision, from the strictest threshold to the loosest."""
    hits, alarms = _cumulative(scores, labels)
    return _thin(hits / max(hits[-1], 1), hits / (hits + alarms))


def threshold_table(scores: np.ndarray, labels: np.ndarray) -> list[dict[str, float]]:
    """For some shares of missed positives, the highest threshold that keeps to the share.

    These are read off the reported split: they describe it, and are no way to choose a threshold.
    """
    positive, negative = np.sort(scores[labels == 1]), scores[labels == 0]
    rows = []
    for share in TABLE_MISSES:
        threshold = float(positive[int(share * len(positive))])
        rows.append(counts_at(threshold, positive, negative))
    return rows


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


def _cumulative(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    hits = np.cumsum(labels[order])[ends]
    return hits, ends + 1 - hits


def _thin(x: np.ndarray, y: np.ndarray) -> Points:
    rows = np.unique(np.linspace(0, len(x) - 1, MOST_POINTS).round().astype(int))
    return [(float(x[row]), float(y[row])) for row in rows]

"""The figures of an evaluation: every metric with its interval, whole and by subtype."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from moekit.data.predictions import Predictions
from moekit.errors import PluginError
from moekit.evaluation.bootstrap import RESAMPLES, Resamples
from moekit.evaluation.delong import delong_test
from moekit.plugins.records import MetricSpec

BASELINE = "frozen backbone, same head"


def summarise(
    predictions: Predictions,
    metrics: Sequence[MetricSpec],
    threshold: float,
    *,
    seed: int,
    baseline_threshold: float | None = None,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """Computes all figures of one split.

    Args:
        predictions: Scores of the split.
        metrics: What to compute.
        threshold: Operating threshold of the kit.
        seed: Of the bootstrap.
        baseline_threshold: Operating threshold of the baseline, where there is one.
        resamples: Bootstrap samples.

    Returns:
        n, positives, metrics, subsets, baseline and comparison, ready for JSON; an undefined value
        is None.

    Raises:
        PluginError: A metric raises, or leaves its bounds.
    """
    drawn = Resamples(predictions, seed=seed, count=resamples)
    labels, scores = predictions.labels, predictions.scores
    result: dict[str, Any] = {
        "n": len(predictions),
        "positives": int(labels.sum()),
        "metrics": _figures(metrics, scores, labels, threshold, drawn),
        "subsets": _subsets(predictions, metrics, threshold, seed, resamples),
        "interval": {
            "level": 0.95,
            "method": f"percentile bootstrap {'by group' if drawn.clustered else 'within classes'}",
            "resamples": len(drawn.rows),
        },
        "baseline": None,
        "comparison": None,
    }
    bare = predictions.baseline_scores
    if bare is not None and baseline_threshold is not None:
        result["baseline"] = {
            "name": BASELINE,
            "threshold": baseline_threshold,
            "metrics": _figures(metrics, bare, labels, baseline_threshold, drawn),
        }
        result["comparison"] = _comparison(scores, bare, labels)
    return result


def _subsets(
    predictions: Predictions,
    metrics: Sequence[MetricSpec],
    threshold: float,
    seed: int,
    resamples: int,
) -> dict[str, Any]:
    subsets = {}
    for name in sorted(set(predictions.subtypes or ())):
        rows = np.array([row for row, of in enumerate(predictions.subtypes or ()) if of == name])
        part = predictions.take(rows)
        drawn = Resamples(part, seed=seed, count=resamples)
        subsets[name] = {
            "n": len(part),
            "positives": int(part.labels.sum()),
            "metrics": _figures(metrics, part.scores, part.labels, threshold, drawn),
        }
    return subsets


def _figures(
    metrics: Sequence[MetricSpec],
    scores: np.ndarray,
    labels: np.ndarray,
    threshold: float,
    drawn: Resamples,
) -> dict[str, Any]:
    figures = {}
    for metric in metrics:

        def of_rows(rows: np.ndarray, metric: MetricSpec = metric) -> float:
            return _compute(metric, scores[rows], labels[rows], threshold)

        value = _compute(metric, scores, labels, threshold)
        defined = math.isfinite(value)
        interval = drawn.interval(of_rows) if defined else None
        figures[metric.name] = {
            "value": value if defined else None,
            "ci95": None if interval is None else list(interval),
            "higher_is_better": metric.higher_is_better,
            "n": len(labels),
        }
    return figures


def _compute(metric: MetricSpec, scores: np.ndarray, labels: np.ndarray, threshold: float) -> float:
    try:
        value = float(metric.compute(scores, labels, threshold))
    except Exception as error:  # a plugin's metric may raise anything
        raise _fault(metric, f"raised {type(error).__name__}: {error}") from error
    low, high = metric.bounds
    if not math.isnan(value) and not low <= value <= high:
        raise _fault(metric, f"returned {value}, outside its bounds {low} to {high}")
    return value


def _fault(metric: MetricSpec, what: str) -> PluginError:
    return PluginError(
        f"the metric {metric.name} {what}",
        whose=metric.name,
        fix="report it to the plugin's authors; leave the metric out until it is mended",
    )


def _comparison(scores: np.ndarray, bare: np.ndarray, labels: np.ndarray) -> dict[str, Any] | None:
    if len(np.unique(labels)) < 2:
        return None
    test = delong_test(scores, bare, labels)
    return {"auroc_difference": test.difference, "ci95": list(test.ci95), "delong_p": test.p}

"""The figures of an evaluation: every metric with its interval, whole and by subtype."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from moekit.contract.metrics import MapMetricSpec, MetricSpec
from moekit.errors import DataError, PluginError
from moekit.evaluation.bootstrap import RESAMPLES, Resamples, percentile_interval
from moekit.tasks.score.delong import delong_test
from moekit.tasks.score.predictions import Predictions

BASELINE = "frozen backbone, same head"
_ROUNDING = 1e-9


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
        n, positives, metrics, subsets, interval, baseline and comparison, ready for JSON; an
        undefined value is None. `comparison` holds the paired test of the AUROCs and, for each
        metric, kit minus baseline with the interval of that difference on the same resamples.

    Raises:
        DataError: A score is not a number in [0, 1], or a label is neither 0 nor 1.
        PluginError: A metric raises, or leaves its bounds.
    """
    _check(predictions)
    drawn = Resamples(predictions, seed=seed, count=resamples)
    labels, bare = predictions.labels, predictions.baseline_scores
    kit = _measure(metrics, predictions.scores, labels, threshold, drawn)
    result: dict[str, Any] = {
        "n": len(predictions),
        "positives": int(labels.sum()),
        "metrics": figures(kit, n=len(labels)),
        "subsets": _subsets(predictions, metrics, threshold, seed, resamples),
        "interval": {
            "level": 0.95,
            "method": f"percentile bootstrap {'by group' if drawn.clustered else 'within classes'}",
            "resamples": drawn.count,
            "redrawn": drawn.redrawn,
        },
        "baseline": None,
        "comparison": None,
    }
    if bare is not None and baseline_threshold is not None:
        baseline = _measure(metrics, bare, labels, baseline_threshold, drawn)
        result["baseline"] = {
            "name": BASELINE,
            "threshold": baseline_threshold,
            "metrics": figures(baseline, n=len(labels)),
        }
        result["comparison"] = _comparison(predictions, kit, baseline)
    return result


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """A metric's value on the split, and on each resample of it.

    Attributes:
        spec: The metric.
        value: nan where it is undefined.
        resampled: (resamples,) float64, nan where undefined.
    """

    spec: MetricSpec | MapMetricSpec
    value: float
    resampled: np.ndarray


def _check(predictions: Predictions) -> None:
    bare = predictions.baseline_scores
    for name, scores in (("kit", predictions.scores), ("baseline", bare)):
        # Written so that not-a-number fails it too.
        if scores is not None and not ((scores >= 0) & (scores <= 1)).all():
            row = int(np.flatnonzero(~((scores >= 0) & (scores <= 1)))[0])
            raise DataError(
                f"the {name} scores an image {scores[row]}, which is not a number from 0 to 1",
                whose=predictions.ids[row],
                fix="check that training did not diverge, or evaluate with --precision fp32",
            )
    odd = np.flatnonzero(~np.isin(predictions.labels, (0, 1)))
    if odd.size:
        raise DataError(
            f"an image has the label {predictions.labels[odd[0]]}; these figures know 0 and 1",
            whose=predictions.ids[odd[0]],
            fix="check the labels of the data set",
        )


def _measure(
    metrics: Sequence[MetricSpec],
    scores: np.ndarray,
    labels: np.ndarray,
    threshold: float,
    drawn: Resamples,
) -> list[Measured]:
    measured = []
    for metric in metrics:

        def of_rows(rows: np.ndarray, metric: MetricSpec = metric) -> float:
            return checked_value(metric, scores[rows], labels[rows], threshold)

        # Copies, so that a metric that writes into its input spoils no other.
        value = checked_value(metric, scores.copy(), labels.copy(), threshold)
        resampled = drawn.values(of_rows) if math.isfinite(value) else np.full(drawn.count, np.nan)
        measured.append(Measured(spec=metric, value=value, resampled=resampled))
    return measured


def figures(measured: Sequence[Measured], **counts: int) -> dict[str, Any]:
    """Value, interval and direction of each metric by its name, ready for JSON.

    Args:
        measured: The metrics.
        counts: From how much each was computed, such as n.
    """
    return {
        entry.spec.name: {
            "value": _number(entry.value),
            "ci95": _interval(entry.resampled),
            "higher_is_better": entry.spec.higher_is_better,
            **counts,
        }
        for entry in measured
    }


def _subsets(
    predictions: Predictions,
    metrics: Sequence[MetricSpec],
    threshold: float,
    seed: int,
    resamples: int,
) -> dict[str, Any]:
    subtypes = np.array(predictions.subtypes or (), dtype=object)
    subsets = {}
    for name in sorted(set(subtypes) - {""}):
        part = predictions.take(np.flatnonzero(subtypes == name))
        drawn = Resamples(part, seed=seed, count=resamples)
        measured = _measure(metrics, part.scores, part.labels, threshold, drawn)
        subsets[name] = {
            "n": len(part),
            "positives": int(part.labels.sum()),
            "metrics": figures(measured, n=len(part)),
        }
    return subsets


def _comparison(
    predictions: Predictions, kit: Sequence[Measured], baseline: Sequence[Measured]
) -> dict[str, Any] | None:
    labels, bare = predictions.labels, predictions.baseline_scores
    if bare is None or len(np.unique(labels)) < 2:
        return None
    test = delong_test(predictions.scores, bare, labels, predictions.groups)
    if math.isnan(test.p):
        return None
    return {
        "auroc_difference": test.difference,
        "ci95": list(test.ci95),
        "delong_p": test.p,
        "metrics": differences(kit, baseline),
    }


def differences(kit: Sequence[Measured], baseline: Sequence[Measured]) -> dict[str, Any]:
    """Kit less baseline of each metric by its name, with the interval on the same resamples."""
    return {
        ours.spec.name: {
            "difference": _number(ours.value - theirs.value),
            "ci95": _interval(ours.resampled - theirs.resampled),
        }
        for ours, theirs in zip(kit, baseline, strict=True)
    }


def checked_value(metric: MetricSpec | MapMetricSpec, *given: Any) -> float:
    """What a metric makes of its input.

    Raises:
        PluginError: It raises, or leaves its bounds.
    """
    compute: Callable[..., float] = metric.compute
    try:
        value = float(compute(*given))
    except Exception as error:  # a plugin's metric may raise anything
        raise _fault(metric, f"raised {type(error).__name__}: {error}") from error
    low, high = metric.bounds
    if not math.isnan(value) and not low - _ROUNDING <= value <= high + _ROUNDING:
        raise _fault(metric, f"returned {value}, outside its bounds {low} to {high}")
    return value


def _fault(metric: MetricSpec | MapMetricSpec, what: str) -> PluginError:
    return PluginError(
        f"the metric {metric.name} {what}",
        whose=metric.name,
        fix="report it to the plugin's authors; leave the metric out until it is mended",
    )


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _interval(resampled: np.ndarray) -> list[float] | None:
    interval = percentile_interval(resampled)
    return None if interval is None else list(interval)

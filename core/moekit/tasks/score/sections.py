"""The sections of a report on scores: curves over all thresholds, and what the chosen one does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from moekit.contract.report import (
    ReportChart,
    ReportContext,
    ReportLine,
    ReportSection,
    ReportTable,
)
from moekit.evaluation.bootstrap import Resamples
from moekit.evaluation.shares import Share, share_of
from moekit.tasks.score.curves import (
    counts_at,
    precision_recall_band,
    precision_recall_points,
    roc_band,
    roc_points,
    threshold_table,
)
from moekit.tasks.score.predictions import Predictions
from moekit.tasks.score.threshold import choose_threshold

ALARM_SHARES = (0.005, 0.01, 0.02, 0.05, 0.10)
"""Shares of false alarms that the report has a threshold for."""
_BAND_RESAMPLES = 300
_CHOSEN = "the chosen threshold"


def curve_section(context: ReportContext) -> ReportSection:
    """The ROC and the precision-recall curve of kit and baseline, with bands."""
    title, predictions = "Curves", both_classes(context)
    if predictions is None:
        command = f"moekit evaluate {context.result['kit']} --data D --run RUN"
        said = f"There is no predictions.csv with both classes; make it with `{command}`."
        return ReportSection(title=title, paragraphs=(said,))
    chosen = _chosen(context, predictions)
    named = str((context.result.get("baseline") or {}).get("name") or "frozen backbone")
    bare = named.partition(",")[0]
    drawn = Resamples(predictions, seed=context.result["bootstrap_seed"], count=_BAND_RESAMPLES)
    return ReportSection(
        title=title,
        charts=(
            ReportChart(
                title="ROC curve",
                x="false positive rate",
                y="true positive rate",
                lines=_lines(predictions, roc_points, roc_band, drawn, bare=bare),
                marks=((chosen["false_alarm_rate"], 1 - chosen["missed_rate"], _CHOSEN),),
            ),
            ReportChart(
                title="Precision-recall curve",
                x="recall",
                y="precision",
                lines=_lines(
                    predictions, precision_recall_points, precision_recall_band, drawn, bare=bare
                ),
                marks=_precision_mark(chosen, int((predictions.labels == 1).sum())),
            ),
        ),
        notes=("The dot is the chosen threshold. Areas: pointwise 95% intervals from resamples.",),
    )


def threshold_section(context: ReportContext, predictions: Predictions) -> ReportSection:
    """What the chosen threshold misses and falsely alarms, and what others would.

    Args:
        context: The run.
        predictions: Its scores, with both classes.
    """
    result, chosen = context.result, _chosen(context, predictions)
    negative, positive = result["classes"]
    names, positives = result["outcome_names"], int((predictions.labels == 1).sum())
    missed, alarms = int(chosen["missed"]), int(chosen["false_alarms"])
    rows = [chosen, *threshold_table(predictions.scores, predictions.labels)]
    return ReportSection(
        title="Thresholds",
        paragraphs=(
            f"At the chosen threshold {positives - missed} of {positives} {positive} are found and "
            f"{missed} missed ({names['missed']}); {alarms} of {len(predictions) - positives} "
            f"{negative} are false alarms ({names['false_alarm']}).",
            "The first row is the chosen threshold. The others are read off this split to show the "
            "trade-off; a threshold for use comes from validation data: `--threshold-rule`.",
        ),
        tables=(
            ReportTable(
                columns=(
                    "threshold",
                    f"missed: {names['missed']}",
                    "share",
                    f"false alarm: {names['false_alarm']}",
                    "share",
                ),
                rows=tuple(_row(row, chosen=row is chosen) for row in rows),
            ),
        ),
    )


def alarm_section(context: ReportContext, predictions: Predictions) -> ReportSection:
    """What is found and missed if validation data may have a given share of false alarms.

    The thresholds are those of the rule `max-false-alarm` on the validation split; the counts are
    those of the evaluated split.

    Args:
        context: The run.
        predictions: Its scores, with both classes.
    """
    title, validation = "By share of false alarms", context.validation
    if validation is None or not (validation.labels == 0).any():
        said = "The scores of the validation split are gone, so no threshold can be chosen."
        return ReportSection(title=title, paragraphs=(said,))
    names, rows, notes = context.result["outcome_names"], [], []
    for share in ALARM_SHARES:
        rule = f"max-false-alarm={share:g}"
        point = choose_threshold(
            validation.scores, validation.labels, rule=rule, groups=validation.groups
        )
        rows.append(_alarm_row(share, point.threshold, predictions))
        notes += [point.warning] if point.warning else []
    return ReportSection(
        title=title,
        paragraphs=(
            "Each threshold is the lowest that keeps false alarms to the share on the validation "
            f"split ({len(validation)} images). The counts are of the {context.result['split']} "
            "split, with 95% intervals. "
            "Choose one with `moekit evaluate --threshold-rule max-false-alarm=SHARE`.",
        ),
        tables=(
            ReportTable(
                columns=(
                    "allowed",
                    "threshold",
                    "found",
                    "95%",
                    f"missed: {names['missed']}",
                    f"false alarm: {names['false_alarm']}",
                    "95%",
                ),
                rows=tuple(rows),
            ),
        ),
        notes=tuple(notes),
    )


def _alarm_row(share: float, threshold: float, predictions: Predictions) -> tuple[str, ...]:
    called, there = predictions.scores >= threshold, predictions.labels == 1
    found = share_of(called & there, there, predictions.groups)
    alarms = share_of(called & ~there, ~there, predictions.groups)
    return (
        f"{share:.1%}",
        f"{threshold:.4f}",
        f"{found.hits:.0f} of {found.of:.0f}",
        _range(found),
        f"{found.of - found.hits:.0f}",
        f"{alarms.hits:.0f} of {alarms.of:.0f}",
        _range(alarms),
    )


def _range(share: Share) -> str:
    interval = share.ci95
    return "" if interval is None else f"{interval[0]:.1%} to {interval[1]:.1%}"


def both_classes(context: ReportContext) -> Predictions | None:
    """The scores of the run; None if they are gone or of one class only."""
    predictions: Predictions | None = context.predictions
    if predictions is None or len(np.unique(predictions.labels)) < 2:
        return None
    return predictions


def _chosen(context: ReportContext, predictions: Predictions) -> dict[str, float]:
    labels, scores = predictions.labels, predictions.scores
    threshold = context.result["threshold"]["value"]
    return counts_at(threshold, scores[labels == 1], scores[labels == 0])


def _precision_mark(
    chosen: dict[str, float], positives: int
) -> tuple[tuple[float, float, str], ...]:
    """Recall and precision at the chosen threshold; none if nothing is called positive."""
    called = positives - chosen["missed"]
    if not called:
        return ()
    return ((1 - chosen["missed_rate"], called / (called + chosen["false_alarms"]), _CHOSEN),)


def _lines(
    predictions: Predictions,
    points: Callable[..., Sequence[tuple[float, float]]],
    band: Callable[..., Sequence[tuple[float, float, float]]],
    drawn: Resamples,
    *,
    bare: str,
) -> tuple[ReportLine, ...]:
    def line(scores: np.ndarray, **named: Any) -> ReportLine:
        labels = predictions.labels
        return ReportLine(
            points=tuple(points(scores, labels)), band=tuple(band(scores, labels, drawn)), **named
        )

    kit = line(predictions.scores, label="specialist")
    if predictions.baseline_scores is None:
        return (kit,)
    return (kit, line(predictions.baseline_scores, label=bare, style="baseline"))


def _row(counts: dict[str, float], *, chosen: bool) -> tuple[str, ...]:
    return (
        f"{counts['threshold']:.4f}{' chosen' if chosen else ''}",
        f"{counts['missed']}",
        f"{counts['missed_rate']:.1%}",
        f"{counts['false_alarms']}",
        f"{counts['false_alarm_rate']:.1%}",
    )

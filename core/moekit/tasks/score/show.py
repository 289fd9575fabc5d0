"""How scores are shown: what the task adds to a report."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from moekit.contract.report import (
    HEADER,
    METRICS,
    NEXT,
    WORST,
    ReportContext,
    ReportSection,
    ReportTable,
)
from moekit.tasks.score.certified import Guarantee
from moekit.tasks.score.predictions import Predictions
from moekit.tasks.score.sections import (
    alarm_section,
    both_classes,
    curve_section,
    threshold_section,
)
from moekit.tasks.score.threshold import OperatingPoint

NAMES = {"auroc": "AUROC"}
"""How the page writes names of figures."""

_LOOK = (
    "Look at the {}. A wrong label is corrected in the data. What no person sees in the picture "
    "needs a better picture. What is plain needs more such images to learn from."
)
_RULES = (
    "To miss less or to reject less, choose another threshold: `moekit evaluate {} --data DATA "
    "--run RUN --threshold-rule max-miss=0.02` or `max-false-alarm=0.05`."
)


def right(tally: Predictions, point: OperatingPoint) -> dict[str, np.ndarray]:
    """Rows of the positive images that are found, the highest score first."""
    found = np.flatnonzero((tally.labels == 1) & (tally.scores >= point.threshold))
    return {"found": found[np.argsort(-tally.scores[found], kind="stable")]}


def sections(context: ReportContext) -> list[ReportSection]:
    """The task's sections of a report, and what it adds to the page's own.

    Args:
        context: A run whose predictions are `moekit.tasks.score.predictions.Predictions`, or None.
    """
    predictions = both_classes(context)
    return [
        *_header(context.result["comparison"]),
        *_metrics(context.result["threshold"]),
        ReportSection(
            title=WORST,
            notes=(
                "Colour shows how strongly a patch speaks for "
                f"{context.result['positive']}, from none to red. Patches below the threshold have "
                "no colour, unless the picture is called so and none reaches it: then its "
                "strongest have.",
            ),
        ),
        ReportSection(title=NEXT, paragraphs=_next(context)),
        *([] if predictions is None else [alarm_section(context, predictions)]),
        curve_section(context),
        *([] if predictions is None else [threshold_section(context, predictions)]),
    ]


def _next(context: ReportContext) -> tuple[str, ...]:
    """What to do about the mistakes that were made."""
    rules = _RULES.format(context.result["kit"])
    predictions: Predictions | None = context.predictions
    if predictions is None:
        return (_LOOK.format("mistakes"), rules)
    called = predictions.scores >= context.result["threshold"]["value"]
    wrong = [
        name
        for name, label in (("misses", 1), ("false alarms", 0))
        if ((predictions.labels == label) & (called != label)).any()
    ]
    return (_LOOK.format(" and the ".join(wrong)), rules) if wrong else (rules,)


def _header(comparison: Mapping[str, Any] | None) -> list[ReportSection]:
    """A tile with the paired test of the AUROCs; none without a baseline."""
    if comparison is None:
        return []
    low, high = comparison["ci95"]
    tile = (
        "difference in AUROC",
        f"{comparison['auroc_difference']:+.4f}",
        f"95% interval {low:+.4f} to {high:+.4f}, DeLong p = {comparison['delong_p']:.2g}",
    )
    table = ReportTable(columns=("what", "value", "remark"), rows=(tile,))
    return [ReportSection(title=HEADER, tables=(table,))]


def _metrics(threshold: Mapping[str, Any]) -> list[ReportSection]:
    """How the threshold behind the metrics was chosen, what it promises, what it rests on."""
    between = ""
    if threshold.get("ci95"):
        low, high = threshold["ci95"]
        between = f" (95% interval {low:.4f} to {high:.4f})"
    said = [
        f"Threshold {threshold['value']:.4f}{between}, chosen by the rule {threshold['rule']} on "
        f"{threshold['n']} images of the {threshold['split']} split."
    ]
    promise = threshold.get("guarantee")
    if promise:
        known = {field.name for field in dataclasses.fields(Guarantee)}
        given = {name: value for name, value in promise.items() if name in known}
        said.append(Guarantee(**given).in_words())
    if threshold.get("warning"):
        said.append(threshold["warning"])
    return [ReportSection(title=METRICS, paragraphs=tuple(said))]

"""The task's sections of a report: curves, classes, sizes, mistakes, the pictures answered worst.

Shapes: N pictures, R recalls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from moekit import ReportChart, ReportContext, ReportLine, ReportSection, ReportTable
from moekit_detection.judging.average import RECALLS, curves_of
from moekit_detection.judging.points import DetectPoint
from moekit_detection.judging.tally import ALARMS, MISSES, DetectTally
from moekit_detection.steps import next_section

NAMES = {
    "ap": "AP",
    "ap50": "AP50",
    "ap75": "AP75",
    "ap_small": "AP small",
    "ap_medium": "AP medium",
    "ap_large": "AP large",
    "ar1": "AR@1",
    "ar10": "AR@10",
    "ar100": "AR@100",
    "precision": "precision at the point",
    "recall": "recall at the point",
    "false_alarms": "false alarms a picture",
}
"""How pages write the metrics."""
_KINDS = {MISSES: "most missed objects", ALARMS: "most false alarms"}
_LEVELS = {"IoU 0.5": 0, "IoU 0.75": 5}
_UNDEFINED = ""


def sections(context: ReportContext) -> Sequence[ReportSection]:
    """The sections that result and tallies have figures for."""
    made = []
    if context.tallies:
        made.append(_curves(context.tallies))
    if context.result.get("per_class"):
        made.append(_by_class(context.result["per_class"]))
    if context.result.get("per_size"):
        made.append(_by_size(context.result["per_size"]))
    if context.result.get("mistakes"):
        made.append(_by_mistake(context.result["mistakes"]))
    if context.tallies:
        made.append(_worst(context.tallies, context.result.get("point")))
    if context.result.get("mistakes"):
        made.append(next_section(context.result))
    return made


def _curves(tallies: Sequence[DetectTally]) -> ReportSection:
    charts = []
    for name, threshold in _LEVELS.items():
        lines = []
        for label, tally in zip(("kit", "baseline"), tallies, strict=False):
            mean_R = _mean_curve(curves_of(tally.matches, threshold))
            points = tuple(zip(RECALLS.tolist(), mean_R.tolist(), strict=True))
            style: Any = label
            lines.append(ReportLine(label=label, points=points, style=style))
        charts.append(
            ReportChart(
                title=f"Precision by recall, {name}",
                x="recall",
                y="precision",
                lines=tuple(lines),
            )
        )
    return ReportSection(
        title="Precision and recall",
        charts=tuple(charts),
        notes=(
            "Interpolated precision at 101 recalls, the mean over the classes with true objects; "
            "the area below the curve is AP at that IoU.",
        ),
    )


def _mean_curve(curve_CR: np.ndarray) -> np.ndarray:
    known = curve_CR[np.isfinite(curve_CR).all(1)]
    mean_R: np.ndarray = known.mean(0) if len(known) else np.zeros(len(RECALLS))
    return mean_R


def _by_class(classes: Mapping[str, Any]) -> ReportSection:
    shown = {name: entry for name, entry in classes.items() if entry["objects"]}
    figures = {"ap": "AP", "ap50": "AP50", "ap_small": "AP small"}
    absent = [name for name, entry in classes.items() if not entry["objects"]]
    notes = ["In brackets the 95% percentile bootstrap interval, by picture or by whole groups."]
    if absent:
        notes.append(f"Without any object in the truth of this split: {', '.join(absent)}.")
    return ReportSection(
        title="Classes",
        tables=(_table("class", shown, figures, counts=("objects", "pictures")),),
        notes=tuple(notes),
    )


def _by_size(sizes: Mapping[str, Any]) -> ReportSection:
    return ReportSection(
        title="Sizes",
        tables=(
            _table("side in pixels", sizes, {"ap": "AP", "ap50": "AP50"}, counts=("objects",)),
        ),
        notes=(
            "The side is that of a square of the object's area, in pixels of the picture. COCO's "
            "small objects have sides below 32, its medium ones from 32 to 96.",
        ),
    )


def _table(
    first: str,
    entries: Mapping[str, Any],
    figures: Mapping[str, str],
    *,
    counts: Sequence[str],
) -> ReportTable:
    paired = any("baseline_ap" in entry for entry in entries.values())
    added = ("baseline AP", "difference") * paired
    rows = []
    for name, entry in entries.items():
        cells = [name, *(str(entry[count]) for count in counts)]
        cells += [_figure(entry[key]) for key in figures]
        if paired:
            cells += [_figure(entry["baseline_ap"]), _figure(entry["ap_difference"])]
        rows.append(tuple(cells))
    return ReportTable(columns=(first, *counts, *figures.values(), *added), rows=tuple(rows))


def _by_mistake(kinds: Mapping[str, Any]) -> ReportSection:
    rows = tuple(
        (name, str(entry["objects"]), _gain(entry["ap50_gain"])) for name, entry in kinds.items()
    )
    return ReportSection(
        title="Mistakes by kind",
        tables=(ReportTable(columns=("kind", "objects", "AP50 gained without it"), rows=rows),),
        notes=(
            "Objects are counted at the operating point. The gain is in points of AP50 of all "
            "found objects, if that kind alone were mended (TIDE, Bolya et al. 2020): badly placed "
            "overlaps a true object of its class by 0.1 to 0.5; wrong class overlaps one of "
            "another class by 0.5 or more; background overlaps nothing by more than 0.1.",
        ),
    )


def _worst(tallies: Sequence[DetectTally], said: Any) -> ReportSection:
    point = _point(said)
    tally = tallies[0]
    missed_N, alarms_N = tally.mistakes_N(point)
    tables = []
    for kind, rows in tally.worst(point).items():
        lines = tuple(
            (tally.ids[row], str(int(missed_N[row])), str(int(alarms_N[row])))
            for row in rows.tolist()
        )
        if lines:
            tables.append(ReportTable(columns=(_KINDS[kind], "missed", "false alarms"), rows=lines))
    return ReportSection(
        title="Pictures answered worst",
        tables=tuple(tables),
        notes=("At the operating point; an object is found from IoU 0.5 on.",),
    )


def _point(said: Any) -> DetectPoint | None:
    """The point in result.json."""
    if not isinstance(said, Mapping):
        return None
    return DetectPoint(
        **{**said, "thresholds": tuple(said["thresholds"]), "values": tuple(said["values"])}
    )


def _figure(entry: Mapping[str, Any]) -> str:
    value = entry.get("value", entry.get("difference"))
    if value is None:
        return _UNDEFINED
    interval = entry["ci95"]
    plain = f"{value:.3f}" if "value" in entry else f"{value:+.3f}"
    return plain if interval is None else f"{plain} [{interval[0]:.3f}, {interval[1]:.3f}]"


def _gain(value: float | None) -> str:
    return _UNDEFINED if value is None else f"{100 * value:+.1f}"

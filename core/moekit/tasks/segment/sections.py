"""The task's sections of a report.

Shapes: N pictures, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from moekit.contract.report import ReportContext, ReportGrid, ReportSection, ReportTable
from moekit.tasks.segment.metrics import class_iou
from moekit.tasks.segment.steps import next_section
from moekit.tasks.segment.tally import FALSE, MISSED, WORST, SegmentTally

_KINDS = {
    WORST: "lowest IoU of a picture",
    MISSED: "most missed foreground",
    FALSE: "most false foreground",
}
_MOST_CLASSES = 30
_RARE = 0.005
_UNDEFINED = ""


def sections(context: ReportContext) -> Sequence[ReportSection]:
    """Figures by class, the confusion of classes, the pictures answered worst, and steps."""
    made = []
    if context.result.get("per_class"):
        made.append(_by_class(context.result["per_class"]))
    if context.tallies:
        made.append(_confusion(context.tallies[0]))
        made.append(_worst(context.tallies))
    if context.result.get("per_class"):
        made.append(next_section(context))
    return made


def _by_class(classes: Mapping[str, Any]) -> ReportSection:
    with_baseline = any("baseline_iou" in entry for entry in classes.values())
    total = sum(entry["truth_pixels"] for entry in classes.values()) or 1
    added = ("baseline IoU", "difference") * with_baseline
    columns = ("class", "pixels", "pictures", "IoU", "Dice", "boundary IoU", *added)
    rows = []
    for name, entry in classes.items():
        cells = [
            f"{name} (background)" if entry["background"] else name,
            f"{entry['truth_pixels'] / total:.2%}",
            str(entry["truth_pictures"]),
            *(_figure(entry[key]) for key in ("iou", "dice", "boundary_iou")),
        ]
        if with_baseline:
            cells += [_figure(entry["baseline_iou"]), _figure(entry["iou_difference"])]
        rows.append(tuple(cells))
    notes = ["In brackets the 95% percentile bootstrap interval, by picture or by whole groups."]
    absent = [name for name, entry in classes.items() if not entry["truth_pixels"]]
    rare = [name for name, entry in classes.items() if 0 < entry["truth_pixels"] / total < _RARE]
    if absent:
        notes.append(f"Without any pixel in the truth of this split: {', '.join(absent)}.")
    if rare:
        notes.append(f"With less than {_RARE:.1%} of the pixels: {', '.join(rare)}.")
    return ReportSection(
        title="Classes",
        tables=(ReportTable(columns=columns, rows=tuple(rows)),),
        notes=tuple(notes),
    )


def _confusion(tally: SegmentTally) -> ReportSection:
    confusion_CC = tally.confusion_NCC.sum(0)
    shown = np.sort(np.argsort(-confusion_CC.sum(1), kind="stable")[:_MOST_CLASSES])
    names = tuple(tally.classes[number] for number in shown)
    shares = []
    for number in shown:
        total = int(confusion_CC[number].sum())
        row = confusion_CC[number, shown] / max(total, 1)
        shares.append(tuple(float(share) if total else None for share in row))
    notes: tuple[str, ...] = ()
    if len(names) < len(tally.classes):
        notes = (f"The {len(names)} classes with the most pixels of {len(tally.classes)}.",)
    return ReportSection(
        title="What is taken for what",
        paragraphs=("Rows are the truth, columns the answer; shares of the pixels of a row.",),
        grids=(ReportGrid(columns=names, rows=names, shares=tuple(shares)),),
        notes=notes,
    )


def _worst(tallies: Sequence[SegmentTally]) -> ReportSection:
    tally, *rest = tallies
    value_NC = class_iou(tally.confusion_NCC)
    tables = []
    for kind, rows in tally.worst(None).items():
        lines = []
        for row in rows.tolist():
            known = np.flatnonzero(np.isfinite(value_NC[row]))
            least = int(known[value_NC[row, known].argmin()])
            cells = [
                tally.ids[row],
                _number(tally.image_iou_N[row]),
                f"{tally.classes[least]} {value_NC[row, least]:.3f}",
            ]
            cells += [_number(rest[0].image_iou_N[row])] if rest else []
            lines.append(tuple(cells))
        columns = (_KINDS[kind], "IoU", "worst class", *(("baseline IoU",) if rest else ()))
        if lines:
            tables.append(ReportTable(columns=columns, rows=tuple(lines)))
    return ReportSection(
        title="Pictures answered worst",
        tables=tuple(tables),
        notes=("IoU is the mean over the foreground classes in a picture's truth or answer.",),
    )


def _figure(entry: Mapping[str, Any]) -> str:
    value = entry.get("value", entry.get("difference"))
    if value is None:
        return _UNDEFINED
    interval = entry["ci95"]
    plain = f"{value:.3f}" if "value" in entry else f"{value:+.3f}"
    return plain if interval is None else f"{plain} [{interval[0]:.3f}, {interval[1]:.3f}]"


def _number(value: float) -> str:
    return f"{value:.3f}" if np.isfinite(value) else _UNDEFINED

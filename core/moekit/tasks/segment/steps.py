"""What a reader of a report can do about the classes that are outlined badly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from moekit.contract.report import NEXT, ReportContext, ReportSection
from moekit.tasks.segment.tally import SegmentTally

_GOOD = 0.9


def next_section(context: ReportContext) -> ReportSection:
    """Steps: the foreground class of the lowest IoU, what it is taken for, its edges.

    Args:
        context: Of a run of the task; its result has `per_class`.
    """
    found = {
        name: entry
        for name, entry in context.result["per_class"].items()
        if not entry["background"] and entry["truth_pixels"] and entry["iou"]["value"] is not None
    }
    if not found:
        return ReportSection(title=NEXT)
    name = min(found, key=lambda one: found[one]["iou"]["value"])
    entry = found[name]
    if entry["iou"]["value"] > _GOOD:
        return ReportSection(title=NEXT)
    said = [
        f"Look at the pictures with {name}, the class with the lowest IoU "
        f"({entry['iou']['value']:.3f}). Correct wrong masks in the data. Masks that are right "
        f"need more such pictures: {name} is in {entry['truth_pictures']} of those judged here."
    ]
    if context.tallies:
        said += _taken_for(context.tallies[0], name)
    if not entry["iou"]["value"]:
        said.append(
            f"No pixel of {name} is found. More epochs help if the training was short "
            "(`moekit adapt --epochs`), a larger `--image-size` if what is to be found is small."
        )
    else:
        said += _edges(name, entry)
    return ReportSection(title=NEXT, paragraphs=tuple(said))


def _taken_for(tally: SegmentTally, name: str) -> list[str]:
    row_C = tally.confusion_NCC.sum(0)[tally.classes.index(name)]
    total, own = int(row_C.sum()), tally.classes.index(name)
    others_C = np.where(np.arange(len(row_C)) == own, 0, row_C)
    if not total or not others_C.any():
        return []
    other = int(others_C.argmax())
    return [
        f"{others_C[other] / total:.0%} of its pixels are answered as {tally.classes[other]}. If "
        "the two look alike in the pictures, say in your labelling rules where one ends."
    ]


def _edges(name: str, entry: Mapping[str, Any]) -> list[str]:
    """If the edges are what is wrong, more pixels help."""
    boundary = entry["boundary_iou"]["value"]
    if boundary is None or boundary > entry["iou"]["value"] / 2:
        return []
    return [
        f"The edges of {name} are the weakest part (boundary IoU {boundary:.3f}). A larger "
        "`--image-size` at `moekit adapt` gives finer edges, and takes longer."
    ]

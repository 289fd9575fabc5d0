"""What a reader of a report can do about objects that are missed or found wrongly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moekit import ReportSection
from moekit_detection.judging.mistakes import MISSED, NAMES, Mistakes

_TITLE = "What next"
"""The page joins the steps to its own."""
_ADVICE = {
    NAMES[Mistakes.CLASS]: "Look at the classes that are confused: correct wrong labels, and make "
    "classes one that a person cannot tell apart in the picture.",
    NAMES[Mistakes.PLACE]: "Look whether the true boxes are drawn tightly and in one way; a larger "
    "`--image-size` places boxes more exactly.",
    NAMES[Mistakes.BOTH]: "Look at those objects first: a wrong box with a wrong class is often an "
    "object without a label.",
    NAMES[Mistakes.TWICE]: "Look at objects that lie close together.",
    NAMES[Mistakes.NOTHING]: "Look at the false alarms: objects without a label are corrected in "
    "the data, and pictures without objects teach what background is.",
    MISSED: "Look at the misses: a lower threshold finds more, and more such objects to learn from "
    "help most.",
}


def next_section(result: Mapping[str, Any]) -> ReportSection:
    """Steps: the kind of mistake that costs most AP50, the weakest class.

    Args:
        result: The content of result.json.
    """
    return ReportSection(title=_TITLE, paragraphs=(*_costliest(result), *_weakest(result)))


def _costliest(result: Mapping[str, Any]) -> list[str]:
    kinds = {
        name: entry["ap50_gain"]
        for name, entry in (result.get("mistakes") or {}).items()
        if entry["objects"] and entry["ap50_gain"]
    }
    worst = max(kinds, key=lambda name: kinds[name], default=None)
    if worst is None:
        return []
    return [
        f'The mistakes of the kind "{worst}" cost most: {100 * kinds[worst]:.1f} points of AP50. '
        f"{_ADVICE[worst]}"
    ]


def _weakest(result: Mapping[str, Any]) -> list[str]:
    classes = {
        name: entry
        for name, entry in (result.get("per_class") or {}).items()
        if entry["objects"] and entry["ap50"]["value"] is not None
    }
    if len(classes) < 2:
        return []
    name = min(classes, key=lambda one: classes[one]["ap50"]["value"])
    entry = classes[name]
    return [
        f"Add pictures with {name}: its AP50 is the lowest ({entry['ap50']['value']:.3f}, "
        f"{entry['objects']} true objects here)."
    ]

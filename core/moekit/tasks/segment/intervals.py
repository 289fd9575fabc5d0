"""Figures of classes with bootstrap intervals, and the paired test of two models.

Counts of pictures are weighed by how often a resample holds them, so that 2,000 resamples are one
product of matrices.

Shapes: N pictures, C classes, R resamples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from moekit.contract.tasks import SummaryJob
from moekit.evaluation.bootstrap import RESAMPLES, Resamples
from moekit.evaluation.intervals import interval_entries, paired_bootstrap
from moekit.tasks.segment.metrics import (
    class_boundary_iou,
    class_dice,
    class_iou,
    mean_over_classes,
)
from moekit.tasks.segment.tally import SegmentTally

SEED = 0
"""Of the paired test, which is called without one."""


def resample_weights(tally: SegmentTally, *, seed: int, count: int) -> np.ndarray | None:
    """(R, N) float64, how often each resample holds each picture; None if nothing can vary.

    The resamples are those of `moekit.evaluation.bootstrap.Resamples`, by which metrics have their
    intervals.

    Args:
        tally: What is resampled.
        seed: Of the draws.
        count: R.
    """
    drawn = Resamples(tally, seed=seed, count=count)
    if drawn.fixed:
        return None
    pictures = len(tally)
    return np.stack([np.bincount(rows, minlength=pictures) for rows in drawn]).astype(np.float64)


def compare(kit: SegmentTally, baseline: SegmentTally) -> dict[str, Any] | None:
    """`paired_bootstrap` of mIoU, kit less baseline; None if nothing can vary, too."""
    weights = resample_weights(kit, seed=SEED, count=RESAMPLES)
    if weights is None:
        return None
    drawn = _miou(kit, weights) - _miou(baseline, weights)
    whole = np.ones((1, len(kit)))
    difference = float((_miou(kit, whole) - _miou(baseline, whole))[0])
    units = Resamples(kit, seed=SEED).units
    return paired_bootstrap("miou", difference, drawn, units)


def complete(summary: dict[str, Any], job: SummaryJob) -> dict[str, Any]:
    """A summary with the figures of each class under `per_class`, by the class's name.

    Each class has the pixels and pictures of its truth, and `iou`, `dice` and `boundary_iou` with
    their intervals; with a baseline also `baseline_iou` and the interval of `iou_difference`. An
    undefined value is None.
    """
    kit: SegmentTally = job.tallies[0]
    bare: SegmentTally | None = job.tallies[1] if len(job.tallies) > 1 else None
    weights = resample_weights(kit, seed=job.seed, count=job.resamples)
    figures = {name: _with_intervals(kit, name, weights) for name in _FIGURES}
    if bare is not None:
        figures["baseline_iou"] = _with_intervals(bare, "iou", weights)
        figures["iou_difference"] = _differences(kit, bare, weights)
    truth_NC = kit.confusion_NCC.sum(2)
    classes = {
        name: {
            "truth_pixels": int(truth_NC[:, number].sum()),
            "truth_pictures": int((truth_NC[:, number] > 0).sum()),
            "background": number in kit.background,
            **{key: entries[number] for key, entries in figures.items()},
        }
        for number, name in enumerate(kit.classes)
    }
    return {**summary, "per_class": classes}


def facts(tally: SegmentTally) -> dict[str, Any]:
    """Counts for result.json: pixels that count and that do not, and classes without any truth."""
    truth_C = tally.confusion_NCC.sum((0, 2))
    return {
        "pixels": int(truth_C.sum()),
        "ignored_pixels": int(tally.ignored_N.sum()),
        "absent_classes": [
            name for name, pixels in zip(tally.classes, truth_C, strict=True) if not pixels
        ],
    }


def _of_confusion(counts: SegmentTally, weights: np.ndarray) -> np.ndarray:
    """(R, C, C) weighted sums over pictures."""
    pictures, classes, _ = counts.confusion_NCC.shape
    flat = counts.confusion_NCC.reshape(pictures, -1).astype(np.float64)
    return (weights @ flat).reshape(-1, classes, classes)


def _of_boundary(counts: SegmentTally, weights: np.ndarray) -> np.ndarray:
    """(R, C, 3) weighted sums over pictures."""
    pictures, classes, _ = counts.boundary_NC3.shape
    flat = counts.boundary_NC3.reshape(pictures, -1).astype(np.float64)
    return (weights @ flat).reshape(-1, classes, 3)


_FIGURES: dict[str, Callable[[SegmentTally, np.ndarray], np.ndarray]] = {
    "iou": lambda tally, weights: class_iou(_of_confusion(tally, weights)),
    "dice": lambda tally, weights: class_dice(_of_confusion(tally, weights)),
    "boundary_iou": lambda tally, weights: class_boundary_iou(_of_boundary(tally, weights)),
}


def _miou(tally: SegmentTally, weights: np.ndarray) -> np.ndarray:
    return mean_over_classes(class_iou(_of_confusion(tally, weights)))


def _with_intervals(
    tally: SegmentTally, name: str, weights: np.ndarray | None
) -> list[dict[str, Any]]:
    value_C = _FIGURES[name](tally, np.ones((1, len(tally))))[0]
    drawn = None if weights is None else _FIGURES[name](tally, weights)
    return interval_entries(value_C, drawn, "value", _pictures(tally))


def _differences(
    kit: SegmentTally, bare: SegmentTally, weights: np.ndarray | None
) -> list[dict[str, Any]]:
    whole = np.ones((1, len(kit)))
    iou = _FIGURES["iou"]
    ours, theirs = (iou(tally, whole)[0] for tally in (kit, bare))
    drawn = None if weights is None else iou(kit, weights) - iou(bare, weights)
    return interval_entries(ours - theirs, drawn, "difference", _pictures(kit))


def _pictures(tally: SegmentTally) -> np.ndarray:
    """(C,) independent pictures, or groups of them, that show each class."""
    shown_NC = tally.confusion_NCC.sum(2) > 0
    parts = (tally.take(np.flatnonzero(shown_N)) for shown_N in shown_NC.T)
    return np.array([Resamples(part, seed=SEED).units for part in parts])

"""Metrics of segmentation, from confusion counts.

A confusion's rows are the truth's classes, its columns the answer's; pixels that do not count are
in none. Metrics of a split add up its pictures first, as the benchmarks of semantic segmentation do
(Everingham et al. 2015, International Journal of Computer Vision 111:98-136).

Shapes: N pictures, C classes.
"""

from __future__ import annotations

import functools
from collections.abc import Collection

import numpy as np

from moekit.contract.metrics import MetricExample
from moekit.tasks.parts.unit_metric import unit_metric

TASK = "segment"


def class_iou(confusion: np.ndarray) -> np.ndarray:
    """(..., C) float64: pixels of both over pixels of either; nan for a class in neither.

    Args:
        confusion: (..., C, C) counts or weighted counts.
    """
    hits, truth, answer = _margins(confusion)
    return _ratio(hits, truth + answer - hits)


def class_dice(confusion: np.ndarray) -> np.ndarray:
    """(..., C) float64: twice the pixels of both over the sum; nan for a class in neither.

    Args:
        confusion: (..., C, C).
    """
    hits, truth, answer = _margins(confusion)
    return _ratio(2 * hits, truth + answer)


def class_boundary_iou(boundary: np.ndarray) -> np.ndarray:
    """(..., C) float64: IoU of boundary bands; nan for a class in neither.

    Args:
        boundary: (..., C, 3) of `boundary_counts`.
    """
    both, answer, truth = (boundary[..., place].astype(np.float64) for place in range(3))
    return _ratio(both, answer + truth - both)


def mean_over_classes(values: np.ndarray) -> np.ndarray:
    """(...) mean over the last dimension without nan; nan if all are."""
    known = np.isfinite(values)
    return _ratio(np.where(known, values, 0).sum(-1), known.sum(-1).astype(np.float64))


def foreground_confusion(confusion: np.ndarray, background: Collection[int]) -> np.ndarray:
    """(..., 2, 2) counts of background and foreground.

    Args:
        confusion: (..., C, C).
        background: Numbers of the classes that are background.
    """
    classes = confusion.shape[-1]
    is_front = ~np.isin(np.arange(classes), list(background))
    group = np.stack([~is_front, is_front]).astype(confusion.dtype)
    together: np.ndarray = group @ confusion @ group.T
    return together


def image_iou(confusion_NCC: np.ndarray, background: Collection[int]) -> np.ndarray:
    """(N,) float64: of each picture the mean IoU over the foreground classes that occur in it.

    A class occurs if it is in the picture's truth or answer. A picture with no foreground in either
    has nan.

    Args:
        confusion_NCC: (N, C, C).
        background: Numbers of the classes that are background.
    """
    values = class_iou(confusion_NCC)
    values[:, list(background)] = np.nan
    return mean_over_classes(values)


def miou(confusion_NCC: np.ndarray) -> float:
    """Mean IoU over the classes that occur in truth or answer of the split; nan if none does."""
    return float(mean_over_classes(class_iou(confusion_NCC.sum(0))))


def dice(confusion_NCC: np.ndarray) -> float:
    """Mean Dice coefficient over the classes that occur in truth or answer of the split."""
    return float(mean_over_classes(class_dice(confusion_NCC.sum(0))))


def pixel_accuracy(confusion_NCC: np.ndarray) -> float:
    """Share of the pixels that count whose class is right."""
    confusion = confusion_NCC.sum(0)
    return float(_ratio(np.trace(confusion), confusion.sum()))


def pixel_counts(confusion_NCC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N,) right pixels of each picture, and (N,) those that count."""
    return np.trace(confusion_NCC, axis1=1, axis2=2), confusion_NCC.sum((1, 2))


def boundary_iou(boundary_NC3: np.ndarray) -> float:
    """Mean boundary IoU over the classes that have a boundary in truth or answer of the split."""
    return float(mean_over_classes(class_boundary_iou(boundary_NC3.sum(0))))


def min_image_iou(confusion_NCC: np.ndarray, background: Collection[int]) -> float:
    """The least `image_iou` of a picture; nan if no picture has foreground in truth or answer."""
    values = image_iou(confusion_NCC, background)
    return float(np.nanmin(values)) if np.isfinite(values).any() else float("nan")


def foreground_iou(confusion_NCC: np.ndarray, background: Collection[int]) -> float:
    """IoU of all foreground classes taken as one; nan if no class is background."""
    if not background:
        return float("nan")
    return float(class_iou(foreground_confusion(confusion_NCC.sum(0), background))[1])


def _margins(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    counts = np.asarray(confusion, dtype=np.float64)
    return np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(-1), counts.sum(-2)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    there = np.asarray(whole) > 0
    return np.where(there, part / np.where(there, whole, 1), np.nan)


_CONFUSION = (((3, 1, 0), (0, 2, 0), (0, 2, 0)), ((4, 0, 0), (0, 0, 0), (0, 0, 0)))
_IN_ALL = "by hand: rows of truth (7, 1, 0), (0, 2, 0), (0, 2, 0) over both pictures"

_spec = functools.partial(unit_metric, TASK)

METRICS = (
    _spec(
        "miou",
        miou,
        "mean IoU over the classes that occur",
        "Everingham et al. 2015",
        MetricExample(
            given={"confusion_NCC": _CONFUSION}, value=(7 / 8 + 2 / 5 + 0) / 3, source=_IN_ALL
        ),
    ),
    _spec(
        "dice",
        dice,
        "mean Dice coefficient over the classes that occur",
        "Dice 1945, Ecology 26(3):297-302",
        MetricExample(
            given={"confusion_NCC": _CONFUSION}, value=(14 / 15 + 4 / 7 + 0) / 3, source=_IN_ALL
        ),
    ),
    _spec(
        "pixel_accuracy",
        pixel_accuracy,
        "share of pixels whose class is right",
        "definition",
        MetricExample(given={"confusion_NCC": _CONFUSION}, value=9 / 12, source=_IN_ALL),
        share=pixel_counts,
    ),
    _spec(
        "boundary_iou",
        boundary_iou,
        "mean IoU of the bands along boundaries, 2% of the diagonal wide",
        "Cheng et al. 2021, arXiv:2103.16562",
        MetricExample(
            given={"boundary_NC3": (((2, 3, 3), (0, 0, 0)), ((1, 1, 2), (0, 2, 1)))},
            value=(3 / 6 + 0 / 3) / 2,
            source="by hand: 3 of 4 + 5 - 3 pixels, 0 of 2 + 1 pixels",
        ),
    ),
    _spec(
        "min_image_iou",
        min_image_iou,
        "the least foreground IoU of a picture",
        "definition",
        MetricExample(
            given={"confusion_NCC": _CONFUSION, "background": frozenset({0})},
            value=(2 / 5 + 0) / 2,
            source="by hand: the second picture has no foreground",
        ),
    ),
    _spec(
        "foreground_iou",
        foreground_iou,
        "IoU of all foreground taken as one class",
        "definition",
        MetricExample(
            given={"confusion_NCC": _CONFUSION, "background": frozenset({0})},
            value=4 / 5,
            source=_IN_ALL,
        ),
    ),
)

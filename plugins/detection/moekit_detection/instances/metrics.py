"""Metrics of instances: those of detection by the overlap of masks, and COCO's by that of boxes.

A found object is small, medium or large by the pixels of its mask, as COCO's mask figures have it;
in the figures of boxes by its box.
"""

from __future__ import annotations

import dataclasses

from moekit import MetricSpec
from moekit_detection.judging.metrics import METRICS

TASK = "instances"
MASK, BOX = "mask_", "box_"
_AT_POINT = ("precision", "recall", "false_alarms")


def _by_masks(metric: MetricSpec) -> MetricSpec:
    return dataclasses.replace(
        metric, name=MASK + metric.name, task=TASK, summary=f"{metric.summary}, by masks"
    )


def _by_boxes(metric: MetricSpec) -> MetricSpec:
    renamed = {"matches": "box_matches"}
    return dataclasses.replace(
        metric,
        name=BOX + metric.name,
        task=TASK,
        summary=f"{metric.summary}, by boxes",
        needs=tuple(renamed.get(name, name) for name in metric.needs),
        examples=tuple(
            dataclasses.replace(
                one, given={renamed.get(name, name): value for name, value in one.given.items()}
            )
            for one in metric.examples
        ),
    )


INSTANCE_METRICS = (
    *(_by_masks(metric) for metric in METRICS),
    *(_by_boxes(metric) for metric in METRICS if metric.name not in _AT_POINT),
)
"""The first nine and the last nine need no point."""
INSTANCE_HEADLINES = tuple(metric.name for metric in INSTANCE_METRICS)

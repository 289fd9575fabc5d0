"""The task `segment`: a class for each pixel.

The names below are public. Each is imported when it is first used, so that importing the package
imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moekit.lazy import getter

if TYPE_CHECKING:
    from moekit.tasks.segment.classes import palette
    from moekit.tasks.segment.head import FusionSegHead, LinearSegHead
    from moekit.tasks.segment.outlines import rings_around
    from moekit.tasks.segment.points import PointSegHead
    from moekit.tasks.segment.rle import compress_runs, expand_runs
    from moekit.tasks.segment.task import SEGMENT

_HOMES = {
    "tasks.segment.classes": ("palette",),
    "tasks.segment.head": (
        "FusionSegHead",
        "LinearSegHead",
    ),
    "tasks.segment.outlines": ("rings_around",),
    "tasks.segment.points": ("PointSegHead",),
    "tasks.segment.rle": (
        "compress_runs",
        "expand_runs",
    ),
    "tasks.segment.task": ("SEGMENT",),
}

__all__ = [
    "SEGMENT",
    "FusionSegHead",
    "LinearSegHead",
    "PointSegHead",
    "compress_runs",
    "expand_runs",
    "palette",
    "rings_around",
]

if not TYPE_CHECKING:
    __getattr__ = getter(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)

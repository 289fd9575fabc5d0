"""The task `score`: one probability an item, and where its evidence lies.

The names below are public. Each is imported when it is first used, so that importing the package
imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moekit.lazy import getter

if TYPE_CHECKING:
    from moekit.tasks.score.delong import PairedTest, delong_ci, delong_test
    from moekit.tasks.score.image_kinds import UNKNOWN
    from moekit.tasks.score.metrics import METRICS, auroc
    from moekit.tasks.score.predictions import RECOGNISED, Places, Predictions
    from moekit.tasks.score.spec import SCORE
    from moekit.tasks.score.threshold import RULES, OperatingPoint, choose_threshold

_HOMES = {
    "tasks.score.delong": (
        "PairedTest",
        "delong_ci",
        "delong_test",
    ),
    "tasks.score.image_kinds": ("UNKNOWN",),
    "tasks.score.metrics": (
        "METRICS",
        "auroc",
    ),
    "tasks.score.predictions": (
        "RECOGNISED",
        "Places",
        "Predictions",
    ),
    "tasks.score.spec": ("SCORE",),
    "tasks.score.threshold": (
        "RULES",
        "OperatingPoint",
        "choose_threshold",
    ),
}

__all__ = [
    "METRICS",
    "RECOGNISED",
    "RULES",
    "SCORE",
    "UNKNOWN",
    "OperatingPoint",
    "PairedTest",
    "Places",
    "Predictions",
    "auroc",
    "choose_threshold",
    "delong_ci",
    "delong_test",
]

if not TYPE_CHECKING:
    __getattr__ = getter(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)

"""The backbone with kits attached.

The names below are public. Each is imported when it is first used, so that importing the package
imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moekit.lazy import getter

if TYPE_CHECKING:
    from moekit.plugins.resolve import Resolved, resolve
    from moekit.runtime.device import pick_device
    from moekit.runtime.kit import KitModules
    from moekit.runtime.load import load_predictor, preprocess_of
    from moekit.runtime.plan import PlannedModel, PlannedPass, RequestPlan
    from moekit.runtime.predictor import Compute, Computed, Predictor
    from moekit.runtime.runtime import Runtime
    from moekit.runtime.shown import RoutedPicture, Shown
    from moekit.runtime.together import Answers

_HOMES = {
    "plugins.resolve": (
        "Resolved",
        "resolve",
    ),
    "runtime.device": ("pick_device",),
    "runtime.kit": ("KitModules",),
    "runtime.load": (
        "load_predictor",
        "preprocess_of",
    ),
    "runtime.plan": (
        "PlannedModel",
        "PlannedPass",
        "RequestPlan",
    ),
    "runtime.predictor": (
        "Compute",
        "Computed",
        "Predictor",
    ),
    "runtime.runtime": ("Runtime",),
    "runtime.shown": (
        "RoutedPicture",
        "Shown",
    ),
    "runtime.together": ("Answers",),
}

__all__ = [
    "Answers",
    "Compute",
    "Computed",
    "KitModules",
    "PlannedModel",
    "PlannedPass",
    "Predictor",
    "RequestPlan",
    "Resolved",
    "RoutedPicture",
    "Runtime",
    "Shown",
    "load_predictor",
    "pick_device",
    "preprocess_of",
    "resolve",
]

if not TYPE_CHECKING:
    __getattr__ = getter(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)

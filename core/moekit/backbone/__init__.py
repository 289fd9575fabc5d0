"""The shared backbone: any timm vision transformer, carved into experts, with real weights.

The names below are public. Each is imported when it is first used, so that importing the package
imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moekit.lazy import getter

if TYPE_CHECKING:
    from moekit.backbone.build import check_known
    from moekit.backbone.positions import keep_trained_positions
    from moekit.backbone.sources import DEFAULT_ARCHITECTURE, WeightFile, cache_folder, find_weights

_HOMES = {
    "backbone.build": ("check_known",),
    "backbone.positions": ("keep_trained_positions",),
    "backbone.sources": (
        "DEFAULT_ARCHITECTURE",
        "WeightFile",
        "cache_folder",
        "find_weights",
    ),
}

__all__ = [
    "DEFAULT_ARCHITECTURE",
    "WeightFile",
    "cache_folder",
    "check_known",
    "find_weights",
    "keep_trained_positions",
]

if not TYPE_CHECKING:
    __getattr__ = getter(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)

"""Parts that heads of several tasks are made of.

The names below are public. Each is imported when it is first used, so that importing the package
imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moekit.lazy import getter

if TYPE_CHECKING:
    from moekit.tasks.parts.fusion import (
        AttentionFusion,
        ConcatenationFusion,
        PlaceNorm,
        patch_map,
    )
    from moekit.tasks.parts.refine import Refine, Twice

_HOMES = {
    "tasks.parts.fusion": (
        "AttentionFusion",
        "ConcatenationFusion",
        "PlaceNorm",
        "patch_map",
    ),
    "tasks.parts.refine": (
        "Refine",
        "Twice",
    ),
}

__all__ = [
    "AttentionFusion",
    "ConcatenationFusion",
    "PlaceNorm",
    "Refine",
    "Twice",
    "patch_map",
]

if not TYPE_CHECKING:
    __getattr__ = getter(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)

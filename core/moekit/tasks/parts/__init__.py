"""Parts that several tasks are made of.

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
        seen_picture,
    )
    from moekit.tasks.parts.given import head_inputs
    from moekit.tasks.parts.legend import FONT_SIZE, short_name, with_legend
    from moekit.tasks.parts.names import impossible, names_at, optional_names
    from moekit.tasks.parts.refine import Refine, Twice
    from moekit.tasks.parts.stored import AboutTallies, load_arrays, save_arrays

_HOMES = {
    "tasks.parts.fusion": (
        "AttentionFusion",
        "ConcatenationFusion",
        "PlaceNorm",
        "patch_map",
        "seen_picture",
    ),
    "tasks.parts.given": ("head_inputs",),
    "tasks.parts.legend": (
        "FONT_SIZE",
        "short_name",
        "with_legend",
    ),
    "tasks.parts.names": (
        "impossible",
        "names_at",
        "optional_names",
    ),
    "tasks.parts.refine": (
        "Refine",
        "Twice",
    ),
    "tasks.parts.stored": (
        "AboutTallies",
        "load_arrays",
        "save_arrays",
    ),
}

__all__ = [
    "FONT_SIZE",
    "AboutTallies",
    "AttentionFusion",
    "ConcatenationFusion",
    "PlaceNorm",
    "Refine",
    "Twice",
    "head_inputs",
    "impossible",
    "load_arrays",
    "names_at",
    "optional_names",
    "patch_map",
    "save_arrays",
    "seen_picture",
    "short_name",
    "with_legend",
]

if not TYPE_CHECKING:
    __getattr__ = getter(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)

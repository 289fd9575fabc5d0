"""The task `classify`: which of a set of classes a picture shows, or which of several.

The names below are public. Each is imported when it is first used, so that importing the package
imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moekit.lazy import getter

if TYPE_CHECKING:
    from moekit.tasks.classify.head import ClassHead
    from moekit.tasks.classify.prototypes import PrototypeHead, fit_prototypes
    from moekit.tasks.classify.spec import CLASSIFY

_HOMES = {
    "tasks.classify.head": ("ClassHead",),
    "tasks.classify.prototypes": (
        "PrototypeHead",
        "fit_prototypes",
    ),
    "tasks.classify.spec": ("CLASSIFY",),
}

__all__ = [
    "CLASSIFY",
    "ClassHead",
    "PrototypeHead",
    "fit_prototypes",
]

if not TYPE_CHECKING:
    __getattr__ = getter(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)

"""The task `classify`: which of a set of classes a picture shows, or which of several.

The names below are imported when they are first used, so that metrics need no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moekit.tasks.classify.head import ClassHead
    from moekit.tasks.classify.prototypes import PrototypeHead, fit_prototypes
    from moekit.tasks.classify.spec import CLASSIFY

_HOME_OF = {
    "CLASSIFY": "spec",
    "ClassHead": "head",
    "PrototypeHead": "prototypes",
    "fit_prototypes": "prototypes",
}

__all__ = ["CLASSIFY", "ClassHead", "PrototypeHead", "fit_prototypes"]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)

"""What a program calls: adapt, evaluate, predict, watch and export, by the names of kits.

The names below are public. Each is imported when it is first used, so that importing the package
imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moekit.lazy import getter

if TYPE_CHECKING:
    from moekit.jobs.adapt import adapt_kit
    from moekit.jobs.evaluate import evaluate_run
    from moekit.jobs.export import export_run
    from moekit.jobs.predict import predict_inputs
    from moekit.jobs.session import load_licensed, open_backbone, quiet_libraries

_HOMES = {
    "jobs.adapt": ("adapt_kit",),
    "jobs.evaluate": ("evaluate_run",),
    "jobs.export": ("export_run",),
    "jobs.predict": ("predict_inputs",),
    "jobs.session": (
        "load_licensed",
        "open_backbone",
        "quiet_libraries",
    ),
}

__all__ = [
    "adapt_kit",
    "evaluate_run",
    "export_run",
    "load_licensed",
    "open_backbone",
    "predict_inputs",
    "quiet_libraries",
]

if not TYPE_CHECKING:
    __getattr__ = getter(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)

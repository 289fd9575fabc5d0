"""From answers to results: one pass over a split, figures with intervals, the worst cases.

The names below are public. Each is imported when it is first used, so that importing the package
imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moekit.lazy import getter

if TYPE_CHECKING:
    from moekit.evaluation.bootstrap import RESAMPLES, Resamples, percentile_interval
    from moekit.evaluation.intervals import (
        interval_entries,
        paired_bootstrap,
        resampled_difference,
        resampled_interval,
    )
    from moekit.evaluation.shares import (
        Share,
        paired_interval,
        share_of,
        unvaried,
        wilson_interval,
    )
    from moekit.evaluation.split_pass import Passed, pass_over
    from moekit.evaluation.spool import PictureSpool
    from moekit.evaluation.summary import measure, summarise
    from moekit.evaluation.worst import draw_worst, pictured

_HOMES = {
    "evaluation.bootstrap": (
        "RESAMPLES",
        "Resamples",
        "percentile_interval",
    ),
    "evaluation.intervals": (
        "interval_entries",
        "paired_bootstrap",
        "resampled_difference",
        "resampled_interval",
    ),
    "evaluation.shares": (
        "Share",
        "paired_interval",
        "share_of",
        "unvaried",
        "wilson_interval",
    ),
    "evaluation.split_pass": (
        "Passed",
        "pass_over",
    ),
    "evaluation.spool": ("PictureSpool",),
    "evaluation.summary": (
        "measure",
        "summarise",
    ),
    "evaluation.worst": (
        "draw_worst",
        "pictured",
    ),
}

__all__ = [
    "RESAMPLES",
    "Passed",
    "PictureSpool",
    "Resamples",
    "Share",
    "draw_worst",
    "interval_entries",
    "measure",
    "paired_bootstrap",
    "paired_interval",
    "pass_over",
    "percentile_interval",
    "pictured",
    "resampled_difference",
    "resampled_interval",
    "share_of",
    "summarise",
    "unvaried",
    "wilson_interval",
]

if not TYPE_CHECKING:
    __getattr__ = getter(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)

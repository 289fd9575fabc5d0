"""The metrics of inspection: of decisions, and of where a defect is said to be."""

from __future__ import annotations

from moekit_industrial.metrics.maps import MAP_METRICS, aupro, aupro_5, pixel_auroc
from moekit_industrial.metrics.rates import METRICS, escape_rate, overkill_rate

__all__ = [
    "MAP_METRICS",
    "METRICS",
    "aupro",
    "aupro_5",
    "escape_rate",
    "overkill_rate",
    "pixel_auroc",
]

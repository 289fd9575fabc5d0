"""The metrics of the medical kit."""

from __future__ import annotations

from moekit_medical.metrics.classification import METRICS

__all__ = ["METRICS"]

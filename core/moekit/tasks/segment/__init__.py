"""The task `segment`: a class for each pixel."""

from __future__ import annotations

from moekit.tasks.segment.task import SEGMENT

__all__ = ["SEGMENT"]

"""The task `score`: one probability an item, and where its evidence lies."""

from __future__ import annotations

from moekit.tasks.score.spec import SCORE

__all__ = ["SCORE"]

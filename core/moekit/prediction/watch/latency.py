"""Durations of a long run: exact percentiles of the last ones, the greatest of all."""

from __future__ import annotations

import collections
from typing import Any

from moekit.ranks import quantile

KEPT = 100_000
"""Durations that percentiles are computed from."""


class Durations:
    """Durations in seconds, in bounded memory.

    Args:
        kept: From how many of the last the percentiles are computed.
    """

    def __init__(self, *, kept: int = KEPT) -> None:
        self._last: collections.deque[float] = collections.deque(maxlen=kept)
        self._greatest = 0.0
        self.total = 0.0
        """The sum of all."""

    def add(self, seconds: float) -> None:
        """Adds one."""
        self._last.append(seconds)
        self._greatest = max(self._greatest, seconds)
        self.total += seconds

    def as_json(self) -> dict[str, Any] | None:
        """Percentiles of the last `n` durations, and the greatest of all; None if none is."""
        if not self._last:
            return None
        ordered = sorted(self._last)
        return {
            "n": len(ordered),
            **{f"p{share}": quantile(ordered, share / 100) for share in (50, 95, 99)},
            "max": self._greatest,
        }

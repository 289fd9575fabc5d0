"""Which items are called none of the classes.

Shapes: N items.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def refused_rows(point: Any, unlike_N: np.ndarray | None, count: int) -> np.ndarray:
    """(N,) bool, which items are called none of the classes."""
    above = getattr(point, "refuse_above", None)
    if above is None or unlike_N is None:
        return np.zeros(count, dtype=bool)
    # Written so that not-a-number is refused too.
    refused: np.ndarray = ~(unlike_N <= above)
    return refused

"""Whether the last scores are still distributed as the reference: drift of the process.

Two figures are needed for a warning. The two-sample Kolmogorov-Smirnov test (Smirnov 1948, "Table
for estimating the goodness of fit of empirical distributions", Annals of Mathematical Statistics
19; its asymptotic p-value by scipy.stats.ks_2samp) says whether there is a difference, which with
enough scores there always is. The shift of the median, in units of the reference's spread, says
whether it matters. The spread is the interquartile range / 1.349, the standard deviation where
scores are normally distributed. Both are taken of logits, log(score / (1 - score)): scores of good
images crowd near zero, and the test does not change by it.
"""

from __future__ import annotations

import collections
import dataclasses
from typing import Any

import numpy as np
from scipy.stats import ks_2samp  # type: ignore[import-untyped]

WINDOW = 200
"""Scores of the line that are compared."""
LARGEST_P = 1e-4
"""At or above this p-value there is no warning."""
LARGE_SHIFT = 1.0
"""Below this shift of the median, in spreads of the reference, there is no warning."""
_QUARTILES_OF_NORMAL = 1.349
_NEAREST = 1e-12


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shift:
    """The last scores beside the reference.

    Attributes:
        reference: "validation" or "line".
        n: How many of the last scores.
        reference_n: How many scores of the reference.
        ks: The Kolmogorov-Smirnov statistic, in [0, 1].
        p: Its p-value.
        median_shift: Median of the last scores less that of the reference, in spreads of the
            reference; None where the reference has no spread.
        drifted: Whether the p-value is below `LARGEST_P` and the shift at least `LARGE_SHIFT`
            either way.
    """

    reference: str
    n: int
    reference_n: int
    ks: float
    p: float
    median_shift: float | None
    drifted: bool

    def as_json(self) -> dict[str, Any]:
        """All of it with the limits."""
        limits = {"largest_p": LARGEST_P, "large_shift": LARGE_SHIFT}
        return {**dataclasses.asdict(self), "limits": limits}


class ProcessDrift:
    """Compares the last scores with a reference.

    Args:
        reference: (n,) scores in [0, 1] of images that are no positives; None to take the first
            `window` of the line.
        window: How many of the last scores are compared.
    """

    def __init__(self, reference: np.ndarray | None, *, window: int = WINDOW) -> None:
        self._name = "line" if reference is None else "validation"
        self._reference: list[float] = [] if reference is None else reference.tolist()
        self._wanted = window if reference is None else 0
        self._last: collections.deque[float] = collections.deque(maxlen=window)

    def add(self, score: float) -> None:
        """Adds a score of the line; the reference is filled first where the line makes it."""
        if len(self._reference) < self._wanted:
            self._reference.append(score)
        else:
            self._last.append(score)

    def measure(self) -> Shift | None:
        """The shift; None as long as there are not enough scores."""
        if len(self._last) < (self._last.maxlen or 0) or not self._reference:
            return None
        return measure_shift(np.array(self._last), np.array(self._reference), name=self._name)


def measure_shift(last: np.ndarray, reference: np.ndarray, *, name: str) -> Shift:
    """Compares scores with a reference.

    Args:
        last: (n,) in [0, 1].
        reference: (m,) in [0, 1].
        name: Of the reference.
    """
    new, old = _logit(last), _logit(reference)
    test = ks_2samp(new, old, method="asymp")
    spread = float(np.subtract(*np.percentile(old, [75, 25]))) / _QUARTILES_OF_NORMAL
    moved = float(np.median(new) - np.median(old))
    shift = moved / spread if spread > 0 else None
    p = float(test.pvalue)
    return Shift(
        reference=name,
        n=len(last),
        reference_n=len(reference),
        ks=float(test.statistic),
        p=p,
        median_shift=shift,
        drifted=p < LARGEST_P and shift is not None and abs(shift) >= LARGE_SHIFT,
    )


def _logit(scores: np.ndarray) -> np.ndarray:
    clear = np.clip(scores, _NEAREST, 1 - _NEAREST)
    return np.asarray(np.log(clear) - np.log1p(-clear))

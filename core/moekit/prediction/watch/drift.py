"""Whether the last values are still distributed as the reference: drift of the process.

Two figures are needed for a warning. The two-sample Kolmogorov-Smirnov test (Smirnov 1948, "Table
for estimating the goodness of fit of empirical distributions", Annals of Mathematical Statistics
19; its asymptotic p-value by scipy.stats.ks_2samp) says whether there is a difference, which with
enough values there always is. The shift of the median, in units of the reference's spread, says
whether it matters. The spread is the interquartile range / 1.349, the standard deviation if
values are normally distributed. Both are taken of log-odds, log(value / (1 - value)): values of
ordinary images crowd near zero, and the test does not change by it. A value is what the task
monitors, in [0, 1].
"""

from __future__ import annotations

import collections
import dataclasses
from typing import Any

import numpy as np
from scipy.stats import ks_2samp  # type: ignore[import-untyped]

WINDOW = 200
"""Values of the line that are compared."""
LARGEST_P = 1e-4
"""At or above this p-value there is no warning."""
LARGE_SHIFT = 1.0
"""Below this shift of the median, in spreads of the reference, there is no warning."""
_QUARTILES_OF_NORMAL = 1.349
_NEAREST = 1e-12


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shift:
    """The last values next to the reference.

    Attributes:
        reference: "validation" or "line".
        n: How many of the last values.
        reference_n: How many values of the reference.
        ks: The Kolmogorov-Smirnov statistic, in [0, 1].
        p: Its p-value.
        median_shift: Median of the last values less that of the reference, in spreads of the
            reference; None if the reference has no spread.
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
    """Compares the last values with a reference.

    Args:
        reference: (n,) values in [0, 1] of ordinary images of the validation split; None to take
            the first `window` of the line.
        window: How many of the last values are compared.
    """

    def __init__(self, reference: np.ndarray | None, *, window: int = WINDOW) -> None:
        self._name = "line" if reference is None else "validation"
        self._reference: list[float] = [] if reference is None else reference.tolist()
        self._wanted = window if reference is None else 0
        self._last: collections.deque[float] = collections.deque(maxlen=window)

    def add(self, value: float) -> None:
        """Adds a value of the line; the reference is filled first if the line makes it."""
        if len(self._reference) < self._wanted:
            self._reference.append(value)
        else:
            self._last.append(value)

    def measure(self) -> Shift | None:
        """The shift; None as long as there are not enough values."""
        if len(self._last) < (self._last.maxlen or 0) or not self._reference:
            return None
        return measure_shift(np.array(self._last), np.array(self._reference), name=self._name)


def measure_shift(last: np.ndarray, reference: np.ndarray, *, name: str) -> Shift:
    """Compares values with a reference.

    Args:
        last: (n,) in [0, 1].
        reference: (m,) in [0, 1].
        name: Of the reference.
    """
    new, old = _log_odds(last), _log_odds(reference)
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


def _log_odds(values: np.ndarray) -> np.ndarray:
    clear = np.clip(values, _NEAREST, 1 - _NEAREST)
    return np.asarray(np.log(clear) - np.log1p(-clear))

"""Intervals of shares, and of the difference of two shares of the same items.

A share has Wilson's interval (1927, JASA 22(158):209-212), which keeps its width if none or all of
a few items count. If items share groups, n is the effective sample size: n over the design
effect, which the scatter between groups says, cut to n and reduced for the few groups that it was
estimated from (Dean and Pagano 2015, Journal of Survey Statistics and Methodology 3(4):484-503;
Franco et al. 2019, the same journal 7(3):334-364). If fewer than 10 groups hold an item that
counts, or one that does not, the scatter says too little, and the items of a group count as one: n
is that of Kish (1965, Survey Sampling, section 8.2).

Shapes: N items, G groups.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import scipy  # type: ignore[import-untyped]  # its parts are imported when they are used

from moekit.evaluation.bootstrap import number_groups

Interval = tuple[float, float]
_Z95 = 1.959963984540054
_STEPS = 60
_TELLING = 10
"""Groups on either side from which the scatter between groups is taken."""
METHOD = "Wilson's, with the effective number of items if they share groups"


def wilson_interval(hits: float, count: float) -> Interval:
    """The 95% score interval of a share.

    Args:
        hits: From 0 to `count`.
        count: How many trials; effective numbers are no whole ones.

    Returns:
        Low and high in [0, 1]; nan without trials.
    """
    if not count:
        return math.nan, math.nan
    share, spread = hits / count, _Z95**2 / count
    middle = (share + spread / 2) / (1 + spread)
    half = _Z95 / (1 + spread) * math.sqrt(share * (1 - share) / count + spread / (4 * count))
    low = 0.0 if hits <= 0 else max(0.0, middle - half)
    high = 1.0 if hits >= count else min(1.0, middle + half)
    return low, high


@dataclasses.dataclass(frozen=True, kw_only=True)
class Share:
    """A share of items.

    Attributes:
        hits: How many count, or their weight.
        of: How many there are, or their weight.
        effective: As how many independent items they tell.
    """

    hits: float
    of: float
    effective: float

    @property
    def value(self) -> float:
        """The share; nan of nothing."""
        return self.hits / self.of if self.of else math.nan

    @property
    def ci95(self) -> Interval | None:
        """Its 95% interval; None of nothing."""
        if not self.of:
            return None
        return wilson_interval(self.value * self.effective, self.effective)

    def as_json(self) -> dict[str, float]:
        """The counts for result.json; whole numbers are written as such."""
        named = {"hits": self.hits, "of": self.of, "effective": self.effective}
        return {name: int(one) if one == int(one) else one for name, one in named.items()}


def share_of(hits_N: np.ndarray, of_N: np.ndarray, groups: Sequence[str] | None = None) -> Share:
    """The share that some items have.

    Args:
        hits_N: (N,) which items count, or how much; none is more than `of_N`.
        of_N: (N,) which items are there to count, or how much.
        groups: (N) names; an item with an empty one stands by itself. None if all do.
    """
    hits_N, of_N = np.asarray(hits_N, dtype=np.float64), np.asarray(of_N, dtype=np.float64)
    hits, total = float(hits_N.sum()), float(of_N.sum())
    if not total:
        return Share(hits=0.0, of=0.0, effective=0.0)
    hits_G, of_G = _by_group((hits_N, of_N), of_N, groups)
    if of_G.max() <= 1:
        return Share(hits=hits, of=total, effective=total)
    share = hits / total
    telling = min(int((hits_G > 0).sum()), int((hits_G < of_G).sum()))
    alike = share * (1 - share) / total
    effective = _effective(hits_G - share * of_G, of_G, alike=alike, telling=telling)
    return Share(hits=hits, of=total, effective=effective)


def paired_interval(
    first_N: np.ndarray,
    second_N: np.ndarray,
    of_N: np.ndarray,
    groups: Sequence[str] | None = None,
) -> Interval | None:
    """The 95% interval of the first share less the second, of the same items.

    The score interval of Tango (1998, Statistics in Medicine 17(8):891-908), which keeps its width
    if no item is answered differently; of groups with the effective number of items.

    Args:
        first_N: (N,) bool, which items count in the first share.
        second_N: (N,) bool, which count in the second.
        of_N: (N,) bool, which items both are shares of.
        groups: (N) names, as of `share_of`.

    Returns:
        Low and high in [-1, 1]; None of nothing.
    """
    of_N = np.asarray(of_N, dtype=bool)
    total = int(of_N.sum())
    if not total:
        return None
    gain_N = (first_N.astype(np.float64) - second_N) * of_N
    more, less = int((gain_N > 0).sum()), int((gain_N < 0).sum())
    gain_G, of_G = _by_group((gain_N, of_N.astype(np.float64)), of_N, groups)
    effective = float(total)
    if of_G.max() > 1:
        mean = (more - less) / total
        alike = ((more + less) / total - mean**2) / total
        telling = int((gain_G != 0).sum())
        effective = _effective(gain_G - mean * of_G, of_G, alike=alike, telling=telling)
    scale = effective / total
    return _tango(more * scale, less * scale, effective)


def unvaried(value: float, bounds: Interval, units: int) -> Interval | None:
    """An interval if all resamples gave the same value.

    At a bound it is as wide as Wilson's of a share that all of `units` independent items have: of
    an area under a curve these are pairs of one item of each stratum. Elsewhere nothing can be
    said.

    Args:
        value: What all resamples gave.
        bounds: Least and greatest value.
        units: Independent items of the smallest stratum.

    Returns:
        Low and high; None if nothing can be said.
    """
    low, high = bounds
    if not units or not (math.isfinite(low) and math.isfinite(high)) or low >= high:
        return None
    room = (1 - wilson_interval(units, units)[0]) * (high - low)
    if math.isclose(value, high, abs_tol=1e-9):
        return high - room, high
    if math.isclose(value, low, abs_tol=1e-9):
        return low, low + room
    return None


def _by_group(
    values: Sequence[np.ndarray], of_N: np.ndarray, groups: Sequence[str] | None
) -> list[np.ndarray]:
    """(G,) sums of each array over the groups that hold something."""
    group_of = np.arange(len(of_N)) if groups is None else number_groups(groups)
    there = np.bincount(group_of, weights=of_N) > 0
    return [np.bincount(group_of, weights=one)[there] for one in values]


def _effective(residual_G: np.ndarray, of_G: np.ndarray, *, alike: float, telling: int) -> float:
    """The effective number of items, from what each group differs by from the mean.

    Args:
        residual_G: (G,) a group's sum less what it would be by the mean.
        of_G: (G,) items of each group.
        alike: Variance of the mean if all items were independent; 0 if that says nothing.
        telling: Groups that show how it scatters.
    """
    total, groups = float(of_G.sum()), len(of_G)
    if alike <= 1e-15 or telling < _TELLING:
        return float(total**2 / (of_G @ of_G))
    variance = groups / (groups - 1) * float(residual_G @ residual_G) / total**2
    effective = total * min(alike / variance, 1.0) if variance > 0 else total
    few = (_Z95 / float(scipy.stats.t.ppf(0.975, groups - 1))) ** 2
    return max(effective * few, 1.0)


def _tango(more: float, less: float, count: float) -> Interval:
    """Solves for the differences whose score statistic is at the quantiles of the normal."""
    middle = (more - less) / count

    def statistic(difference: float) -> float:
        linear = -more - less + (2 * count - more + less) * difference
        constant = -less * difference * (1 - difference)
        root = math.sqrt(max(linear**2 - 8 * count * constant, 0.0))
        discordant = (root - linear) / (4 * count)
        variance = count * (2 * discordant + difference * (1 - difference))
        return (more - less - count * difference) / math.sqrt(max(variance, 1e-300))

    def solve(inside: float, outside: float) -> float:
        if abs(statistic(outside)) <= _Z95:
            return outside
        for _ in range(_STEPS):
            between = (inside + outside) / 2
            inside, outside = (
                (between, outside) if abs(statistic(between)) <= _Z95 else (inside, between)
            )
        return inside

    return solve(middle, -1.0), solve(middle, 1.0)

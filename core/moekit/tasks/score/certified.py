"""Thresholds with a guarantee: Learn then Test (Angelopoulos, Bates, Candes, Jordan, Lei 2021).

arXiv:2110.01052, with fixed-sequence testing. The thresholds are walked from the safest one on. Of
each the hypothesis is tested that its true rate of errors is above the one asked for, by the exact
binomial p-value of the errors that the validation scores have there. The walk ends at the first
hypothesis that is not rejected, so that no correction for many tests is needed; the last threshold
before it is chosen. Rates only rise along the walk, and p-values change at scores only, so that the
scores themselves do for the sequence.

If items share groups, a group is one draw, and it counts as an error if any of its items is one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import scipy  # type: ignore[import-untyped]  # its parts are imported when they are used

from moekit.errors import DataError
from moekit.evaluation.bootstrap import number_groups
from moekit.tasks.parts.support import needed

Rate = Literal["missed", "false_alarm"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Guarantee:
    """What a certified threshold promises.

    Attributes:
        rate: Of which errors: `missed` positives or `false_alarm`s.
        at_most: The true rate that is promised.
        risk: The greatest probability, over draws of the validation data, that the promise fails.
        n: From how many items or groups of the class.
        errors: How many of them are errors on the validation split.
        unit: `item`, or `group`: a group is an error if any of its items is.
    """

    rate: Rate
    at_most: float
    risk: float
    n: int
    errors: int
    unit: Literal["item", "group"]

    @property
    def assumption(self) -> str:
        """What must hold for the promise."""
        drawn = "images" if self.unit == "item" else "groups of images"
        return (
            f"new {drawn} are drawn as the {drawn} of the validation split were, each by itself "
            "(exchangeable draws), and the weights were not chosen by that split: the epoch that "
            "adapt kept is taken as given"
        )

    def in_words(self) -> str:
        """The promise in one sentence."""
        what = {"missed": "positive", "false_alarm": "negative"}[self.rate]
        error = {"missed": "missed", "false_alarm": "called positive"}[self.rate]
        of = f"{what} images are {error}"
        if self.unit == "group":
            of = f"groups have a {what} image that is {error}"
        return (
            f"Certified: at most {self.at_most:.3g} of the {of}, except with a risk of "
            f"{self.risk:.3g} (Learn then Test, {self.errors} errors among {self.n} {self.unit}s "
            f"of the validation split). Assumed: {self.assumption}."
        )

    def as_json(self) -> dict[str, Any]:
        """The promise for result.json."""
        return {
            **dataclasses.asdict(self),
            "method": "Learn then Test, fixed sequence, exact binomial (arXiv:2110.01052)",
            "assumption": self.assumption,
        }


def certify(
    scores: np.ndarray,
    candidates: np.ndarray,
    *,
    rate: Rate,
    at_most: float,
    risk: float,
    groups: Sequence[str] | None = None,
) -> tuple[float, Guarantee]:
    """Chooses among thresholds the last one of the walk that is certified.

    Args:
        scores: (n,) validation scores of the class whose errors are counted.
        candidates: (m,) thresholds in ascending order; the safest one has no error.
        rate: `missed` walks up from the least threshold, `false_alarm` down from the greatest.
        at_most: The true rate that is promised.
        risk: The greatest probability that the promise fails.
        groups: (n) names; an item with an empty one is a group by itself. None if all are.

    Returns:
        The threshold and its promise.

    Raises:
        DataError: There are too few items or groups.
    """
    draws, unit = _draws(scores, groups, rate)
    count, least = len(draws), needed(at_most, risk)
    if count < least:
        raise DataError(
            f"{count} {'groups' if unit == 'group' else 'images'} of the class cannot certify a "
            f"rate of {at_most:g} at a risk of {risk:g}",
            whose="the validation split",
            fix=f"give at least {least} there, or allow a greater rate or risk",
            code="data/too-few",
        )
    ordered = np.sort(draws)
    if rate == "missed":
        walk = candidates
        errors = np.searchsorted(ordered, walk, side="left")
    else:
        walk = candidates[::-1]
        errors = count - np.searchsorted(ordered, walk, side="left")
    rejected = scipy.stats.binom.cdf(errors, count, at_most) <= risk
    last = len(walk) - 1 if rejected.all() else int(np.argmin(rejected)) - 1
    promise = Guarantee(
        rate=rate, at_most=at_most, risk=risk, n=count, errors=int(errors[last]), unit=unit
    )
    return float(walk[last]), promise


def _draws(
    scores: np.ndarray, groups: Sequence[str] | None, rate: Rate
) -> tuple[np.ndarray, Literal["item", "group"]]:
    """The score of each draw: of a group the one that is an error first."""
    if groups is None or not any(groups):
        return scores, "item"
    number = number_groups(groups)
    worst = np.full(int(number.max(initial=-1)) + 1, np.inf if rate == "missed" else -np.inf)
    (np.minimum if rate == "missed" else np.maximum).at(worst, number, scores)
    return worst, "group"

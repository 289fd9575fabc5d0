"""What a choice on validation data rests on: its interval, and whether they support its rule."""

from __future__ import annotations

import collections
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from moekit.contract.answers import Tally
from moekit.errors import MoekitError
from moekit.evaluation.bootstrap import Resamples

RESAMPLES = 200
FEWEST = 20
"""Items of a class, or groups of them, below which what a rule reaches hangs on single ones."""
_RISK = 0.05


def needed(at_most: float, risk: float) -> int:
    """The fewest draws that can certify a rate, without a single error among them."""
    return math.ceil(math.log(risk) / math.log1p(-at_most) - 1e-9)


def choice_interval(
    tally: Tally, choose: Callable[[np.ndarray], float]
) -> tuple[float, float] | None:
    """The 95% interval of what a rule chooses, from bootstrap samples of the validation split.

    Args:
        tally: The validation split; items that share groups are drawn together.
        choose: Called with row numbers; returns the choice.

    Returns:
        Low and high; None if more than 5% of the samples do not do for the rule.
    """

    def chosen(rows: np.ndarray) -> float:
        try:
            return choose(rows)
        except MoekitError:
            return math.nan

    return Resamples(tally, seed=0, count=RESAMPLES).interval(chosen)


def drawn_groups(groups: Sequence[str], rows: np.ndarray) -> tuple[str, ...]:
    """Names of the groups of a resample, in which a group that was drawn twice is two."""
    seen: collections.Counter[int] = collections.Counter()
    names = []
    for row in rows.tolist():
        names.append(f"{groups[row]} {seen[row]}" if groups[row] else "")
        seen[row] += 1
    return tuple(names)


def unsupported(rule: str, share: float, count: int, what: str) -> str:
    """A warning if so few items cannot tell a share; empty if they can.

    Args:
        rule: The rule, for the sentence.
        share: The share of errors that it allows.
        count: Items or groups of the class in the validation split.
        what: What they are.
    """
    if share <= 0 or count * share >= 1 - 1e-9:
        return ""
    return (
        f"The rule {rule} rests on {count} {what} of the validation split, of which one is "
        f"{1 / count:.0%}: it allows no error there and promises no more than that. "
        f"{math.ceil(1 / share - 1e-9)} {what} would resolve the share, and "
        f"{needed(share, _RISK)} without an error would show it with 95% confidence."
    )


def too_few(rule: str, counts: Mapping[str, int], why: str = "") -> str:
    """A warning if a rule that promises no share rests on very few items; empty if it does not.

    Args:
        rule: The rule, for the sentence.
        counts: Items or groups of each class that the rule looks at, by what they are.
        why: What such a number does to the rule; if empty, how much one of the fewest counts.
    """
    scarce = {what: count for what, count in counts.items() if count < FEWEST}
    if not scarce:
        return ""
    told = " and ".join(f"{count} {what}" for what, count in scarce.items())
    least = min(scarce.values())
    why = why or (
        f"one of {least} is {1 / max(least, 1):.0%} of them, so single ones decide what it reaches "
        "there, and new ones may need another threshold"
    )
    return (
        f"The rule {rule} rests on {told} of the validation split, fewer than {FEWEST}: {why}. "
        f"{FEWEST} or more of each would do."
    )

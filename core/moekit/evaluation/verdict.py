"""Which of two models is better, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from moekit.runs.choices import BASELINE, SPECIALIST

LEAST = 20
"""Independent items of the smallest stratum that a proof of the better model needs.

From fewer a bootstrap interval is too narrow.
"""

_SHOWN = 0.0001
"""The least difference that is shown as a number."""


def sides_of(baseline: str) -> Mapping[str, str]:
    """The names of a specialist and its baseline, by what a verdict calls them."""
    return {SPECIALIST: "the specialist", BASELINE: f"the baseline ({baseline})"}


def better_in_words(
    metrics: Mapping[str, Any], gaps: Mapping[str, Any], who: Mapping[str, str], *, units: int
) -> dict[str, Any] | None:
    """Which of the two models is better by the headline metric, and whether that is proven.

    Args:
        metrics: Figures of the first, the headline first.
        gaps: First less second of each metric, with its interval.
        who: Names of both by what `better` calls them, such as those of `sides_of`.
        units: Independent items of the smallest stratum.

    Returns:
        `metric`, `better` (a key of `who`, or None if they are equal), `proven` and
        `in_words`; None if the headline has no difference.
    """
    name = next((name for name in metrics if name in gaps), None)
    if name is None or gaps[name]["difference"] is None:
        return None
    difference, interval = gaps[name]["difference"], gaps[name]["ci95"]
    apart = interval is not None and not interval[0] <= 0 <= interval[1]
    proven = apart and units >= LEAST
    up = metrics[name]["higher_is_better"]
    better = None
    if difference:
        first, second = who
        better = first if (difference > 0) == up else second
    size = f"{abs(difference):.4f}" if abs(difference) >= _SHOWN else f"less than {_SHOWN}"
    by = f"by {size} of {name}"
    between = "" if interval is None else _interval_in_words(interval, turned=difference < 0)
    if better is None:
        words = f"neither model is ahead: they are equal by {name}{between}"
    elif proven:
        words = f"{who[better]} is better {by}{between}; that is proven on these items (95%)"
    elif apart:
        words = (
            f"{who[better]} is ahead {by}{between}; {units} independent items of a class are too "
            f"few to prove it, {LEAST} may do"
        )
    else:
        why = "has no interval" if interval is None else "may be 0, by its interval"
        words = (
            f"{who[better]} is ahead {by}{between}; that is not proven on these items: the "
            f"difference {why}"
        )
    return {"metric": name, "better": better, "proven": bool(proven), "in_words": words}


def _interval_in_words(interval: Sequence[float], *, turned: bool) -> str:
    """The interval of a difference, turned if the words give the difference the other way round."""
    low, high = (-interval[1], -interval[0]) if turned else interval
    return f" [{low:+.4f}, {high:+.4f}]"

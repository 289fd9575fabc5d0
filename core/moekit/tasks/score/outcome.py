"""What scores come to at the operating point, counted as people count it."""

from __future__ import annotations

from typing import Any

from moekit.contract.answers import TaskContext
from moekit.evaluation.shares import Share, share_of
from moekit.tasks.score.predictions import Predictions


def outcome(tally: Predictions, point: Any, context: TaskContext) -> list[str]:
    """How many positive items are found, and how many negative ones are false alarms.

    Each sentence gives the upper bound of the share's 95% interval, that of `share_of`.

    Args:
        tally: Scores with their labels.
        point: An `OperatingPoint`.
        context: Names the classes, negative first, and what mistakes are called.
    """
    negative, positive = context.classes
    called = tally.scores >= point.threshold
    there, words = tally.labels == 1, context.vocabulary
    missed = share_of(~called & there, there, tally.groups)
    alarms = share_of(called & ~there, ~there, tally.groups)
    told = []
    if missed.of:
        found = int(missed.of - missed.hits)
        told.append(
            f"{found} of {int(missed.of)} {positive} are found, {int(missed.hits)} are missed"
            f"{_name(words.get('missed'))}: {_bounded(missed)}."
        )
    if alarms.of:
        told.append(
            f"{int(alarms.hits)} of {int(alarms.of)} {negative} are false alarms"
            f"{_name(words.get('false_alarm'))}: {_bounded(alarms)}."
        )
    return told


def _name(word: Any) -> str:
    """What a field calls it, in brackets."""
    return f" ({word})" if word else ""


def _bounded(share: Share) -> str:
    interval = share.ci95
    high = "" if interval is None else f", at most {interval[1]:.1%} in the long run"
    return f"{share.value:.1%}{high}"

"""What classes come to, counted as people count it."""

from __future__ import annotations

from typing import Any

import numpy as np

from moekit.contract.answers import TaskContext
from moekit.data.samples import UNSEEN
from moekit.evaluation.shares import Share, share_of
from moekit.tasks.classify.point import LabelPoint
from moekit.tasks.classify.refusal import refused_rows
from moekit.tasks.classify.tally import ClassTally

_HARDEST = 3


def outcome(tally: ClassTally, point: Any, context: TaskContext) -> list[str]:
    """How many items get the right class, or how many labels are found; and what is hardest.

    Args:
        tally: Probabilities with the truth.
        point: Says from which probability a label is given, or which items are called none of the
            classes.
        context: Unused.
    """
    del context
    if tally.labels_NC is not None:
        return _labels(tally, tally.labels_NC, point)
    labels_N = tally.strata_N
    known_N = labels_N != UNSEEN
    right_N = known_N & (tally.probability_NC.argmax(1) == labels_N)
    share = share_of(right_N, known_N, tally.groups)
    if not share.of:
        return []
    told = [f"{int(share.hits)} of {int(share.of)} items get the right class: {_ranged(share)}."]
    told += _refusals(tally, point, known_N)
    return told + _hardest(
        [
            (name, int(right_N[labels_N == number].sum()), int((labels_N == number).sum()))
            for number, name in enumerate(tally.classes)
        ]
    )


def _refusals(tally: ClassTally, point: Any, known_N: np.ndarray) -> list[str]:
    """How many items are called none of the classes, rightly and wrongly."""
    refused_N = refused_rows(point, tally.unlike_N, len(tally))
    known, unseen = int(known_N.sum()), int((~known_N).sum())
    wrongly, rightly = int(refused_N[known_N].sum()), int(refused_N[~known_N].sum())
    if getattr(point, "refuse_above", None) is None:
        items = "item is" if unseen == 1 else "items are"
        none = f"{unseen} {items} of no class; no rule says which to refuse (refuse=SHARE does)."
        return [none] if unseen else []
    told = [f"{wrongly} of {known} items of the classes are refused."]
    return told + ([f"{rightly} of {unseen} items of no class are refused."] if unseen else [])


def _labels(tally: ClassTally, labels_NC: np.ndarray, point: Any) -> list[str]:
    limits_C = point.thresholds_C if isinstance(point, LabelPoint) else 0.5
    given_NC, there_NC = tally.probability_NC >= limits_C, labels_NC == 1
    found_C, there_C = (given_NC & there_NC).sum(0), there_NC.sum(0)
    found, there = int(found_C.sum()), int(there_C.sum())
    if not there:
        return []
    wrong = int((given_NC & ~there_NC).sum())
    told = [f"{found} of {there} labels are found, and {wrong} are given that are wrong."]
    return told + _hardest(
        list(zip(tally.classes, found_C.tolist(), there_C.tolist(), strict=True))
    )


def _hardest(counts: list[tuple[str, int, int]]) -> list[str]:
    """The classes of which the greatest share is missed."""
    missed = [(right / there, name, right, there) for name, right, there in counts if right < there]
    if not missed:
        return []
    named = [f"{name} ({right} of {there})" for _, name, right, there in sorted(missed)[:_HARDEST]]
    return [f"Hardest: {', '.join(named)}."]


def _ranged(share: Share) -> str:
    interval = share.ci95
    between = "" if interval is None else f", 95% interval {interval[0]:.1%} to {interval[1]:.1%}"
    return f"{share.value:.1%}{between}"

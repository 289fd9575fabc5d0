"""The operating threshold, chosen on validation scores and never on the split that is reported.

A score at or above the threshold counts as positive.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from moekit.errors import DataError, UsageError
from moekit.tasks.score.kinds import UNKNOWN
from moekit.tasks.score.tail import LARGEST_TAIL, counted_interval, tail_threshold

PASS, REVIEW, UNREADABLE = "pass", "review", "unreadable"
"""Verdicts beside the kit's word for a positive."""

RULES = ("accuracy", "f1", "youden", "max-miss=SHARE", "max-false-alarm=SHARE", "tail=SHARE")
_ONE_CLASS = ("max-false-alarm", "tail")


@dataclasses.dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """A chosen threshold.

    Attributes:
        threshold: At or above it is positive.
        rule: How it was chosen.
        split: On which split.
        n: From how many scores.
        value: What the rule reached there: its figure, or the share missed or falsely alarmed.
        ci95: Interval of the false-alarm share, where the rule promises one.
        review: Scores from here up to the threshold are for review; None for no such zone.
    """

    threshold: float
    rule: str
    split: str
    n: int
    value: float
    ci95: tuple[float, float] | None = None
    review: float | None = None

    def brief(self) -> dict[str, Any]:
        """The threshold."""
        return {"threshold": self.threshold}

    def as_json(self) -> dict[str, Any]:
        """The point for result.json."""
        alarms = None if self.ci95 is None else {"value": self.value, "ci95": list(self.ci95)}
        return {
            "value": self.threshold,
            "rule": self.rule,
            "split": self.split,
            "n": self.n,
            "false_alarm": alarms,
        }


@dataclasses.dataclass(frozen=True)
class Counts:
    """Confusion counts at each candidate threshold, all (m,)."""

    true_positives: np.ndarray
    false_positives: np.ndarray
    positives: int
    negatives: int


def choose_threshold(
    scores: np.ndarray, labels: np.ndarray, *, rule: str = "accuracy", split: str = "val"
) -> OperatingPoint:
    """Chooses the threshold that is best by a rule.

    Candidates lie halfway between neighbouring scores, on the least, and beyond the greatest. Of
    equally good ones the middle of the longest run is taken, so that ties depend on nothing else;
    `max-miss` takes the highest that keeps its promise, `max-false-alarm` the lowest.

    Args:
        scores: (n,) in [0, 1].
        labels: (n,) in {0, 1}; both present, unless the rule looks at negatives alone.
        rule: `accuracy`, `f1`, `youden` (sensitivity + specificity - 1; Youden 1950), or
            `max-miss=SHARE`: the highest threshold at which at most that share of positives is
            missed, or `max-false-alarm=SHARE`: the lowest at which at most that share of negatives
            is called positive (specificity of at least 1 - SHARE), or `tail=SHARE`: where a fitted
            tail of the negatives' scores expects that share of them to be beyond. The last two need
            no positives.
        split: Name of the split, for the record.

    Raises:
        DataError: A class that the rule needs is missing, or too few negatives to fit a tail.
        UsageError: The rule is unknown.
    """
    kind = rule if rule in _JUDGED else _promise(rule)[0]
    if not (labels == 0).any() or (kind not in _ONE_CLASS and not (labels == 1).any()):
        raise DataError(
            f"the rule {rule} needs scores of both classes",
            whose=f"the {split} split",
            fix="use a validation split that holds both, or with negatives alone one of the rules "
            "max-false-alarm=SHARE and tail=SHARE",
            code="data/one-class",
        )
    if kind == "tail":
        return _from_tail(scores[labels == 0], rule, split)
    candidates = _candidates(scores)
    counts = _count(scores, labels, candidates)
    values, best = _judge(counts, rule)
    alarmed = int(counts.false_positives[best])
    return OperatingPoint(
        threshold=float(candidates[best]),
        rule=rule,
        split=split,
        n=len(scores),
        value=float(values[best]),
        ci95=counted_interval(alarmed, counts.negatives) if kind == "max-false-alarm" else None,
    )


def _from_tail(scores: np.ndarray, rule: str, split: str) -> OperatingPoint:
    _, share = _promise(rule)
    threshold, interval = tail_threshold(scores, alarms=share)
    return OperatingPoint(
        threshold=threshold, rule=rule, split=split, n=len(scores), value=share, ci95=interval
    )


def verdict(
    score: float,
    *,
    threshold: float,
    positive: str,
    review: float | None = None,
    kind: str = "",
) -> str:
    """What a score means.

    Args:
        score: In [0, 1]; one that is not a number counts as positive, so that it is not passed.
        threshold: Operating threshold.
        positive: The kit's word for a score at or above it.
        review: Scores at or above this and below the threshold are for a person; None for no zone.
        kind: The kind of image that it was taken for; one that is unknown is not passed, since its
            score was compared with another kind's.

    Returns:
        `positive`, "review" or "pass".
    """
    if not score < threshold:
        return positive
    doubtful = kind == UNKNOWN or (review is not None and score >= review)
    return REVIEW if doubtful else PASS


def review_threshold(
    text: str, scores: np.ndarray, labels: np.ndarray, *, point: OperatingPoint
) -> float:
    """The threshold at which the review zone begins, below the operating threshold.

    Args:
        text: A number in (0, 1), or `max-false-alarm=SHARE`: the lowest threshold at which at most
            that share of the validation split's negatives is reviewed or called positive.
        scores: (n,) in [0, 1], of the validation split.
        labels: (n,) in {0, 1}.
        point: The operating point.

    Raises:
        DataError: The scores do not do for the rule; see `choose_threshold`.
        UsageError: The text is neither, or the zone would be empty.
    """
    if text.partition("=")[0] == "max-false-alarm":
        low = choose_threshold(scores, labels, rule=text, split=point.split).threshold
    else:
        low = _number(text)
    if low >= point.threshold:
        raise UsageError(
            f"the review zone would be empty: {text} gives {low:.6g}, the operating threshold is "
            f"{point.threshold:.6g}",
            whose="--review",
            fix="choose a lower number or a greater share, or leave out --review",
            code="usage/review-zone",
        )
    return low


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 < number < 1:
        raise UsageError(
            f"{text!r} is no beginning of a review zone",
            whose="--review",
            fix="give a number between 0 and 1, or max-false-alarm=SHARE",
            code="usage/review-zone",
        )
    return number


def _candidates(scores: np.ndarray) -> np.ndarray:
    unique = np.unique(scores)
    between = (unique[1:] + unique[:-1]) / 2
    return np.concatenate([[unique[0]], between, [np.nextafter(unique[-1], np.inf)]])


def _count(scores: np.ndarray, labels: np.ndarray, candidates: np.ndarray) -> Counts:
    positive, negative = np.sort(scores[labels == 1]), np.sort(scores[labels == 0])
    return Counts(
        true_positives=len(positive) - np.searchsorted(positive, candidates, side="left"),
        false_positives=len(negative) - np.searchsorted(negative, candidates, side="left"),
        positives=len(positive),
        negatives=len(negative),
    )


def _judge(counts: Counts, rule: str) -> tuple[np.ndarray, int]:
    """What the rule says of each candidate, and the candidate that it chooses."""
    if rule in _JUDGED:
        values = _JUDGED[rule](counts)
        return values, _middle_of_best(values)
    kind, share = _promise(rule)
    # Divided like the share was written, so that 2 of 100 is exactly 0.02.
    if kind == "max-miss":
        missed = (counts.positives - counts.true_positives) / counts.positives
        return missed, int(np.flatnonzero(missed <= share)[-1])
    alarmed = np.asarray(counts.false_positives / counts.negatives)
    return alarmed, int(np.flatnonzero(alarmed <= share)[0])


def _promise(rule: str) -> tuple[str, float]:
    kind, _, text = rule.partition("=")
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    known = {"max-miss": 1.0, "max-false-alarm": 1.0, "tail": LARGEST_TAIL}
    least = 0.0 if kind != "tail" else np.nextafter(0.0, 1.0)
    if kind not in known or not least <= share < known[kind]:
        raise UsageError(
            f"there is no threshold rule {rule!r}",
            whose="--threshold-rule",
            fix=f"use one of: {', '.join(RULES)}",
            code="usage/unknown-rule",
        )
    return kind, share


def _accuracy(counts: Counts) -> np.ndarray:
    true_negatives = counts.negatives - counts.false_positives
    right = counts.true_positives + true_negatives
    return np.asarray(right / (counts.positives + counts.negatives))


def _f1(counts: Counts) -> np.ndarray:
    called = counts.true_positives + counts.false_positives
    return np.asarray(2 * counts.true_positives / np.maximum(called + counts.positives, 1))


def _youden(counts: Counts) -> np.ndarray:
    value: np.ndarray = (
        counts.true_positives / counts.positives - counts.false_positives / counts.negatives
    )
    return value


_JUDGED = {"accuracy": _accuracy, "f1": _f1, "youden": _youden}


def _middle_of_best(values: np.ndarray) -> int:
    best = np.flatnonzero(values >= values.max() - 1e-12)
    runs = np.split(best, np.flatnonzero(np.diff(best) > 1) + 1)
    longest = max(runs, key=len)
    return int(longest[len(longest) // 2])

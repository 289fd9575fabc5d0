"""The operating threshold, chosen on validation scores and never on the split that is reported.

A score at or above the threshold counts as positive.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from moekit.errors import DataError, UsageError
from moekit.tasks.parts.support import too_few, unsupported
from moekit.tasks.score.candidates import MEASURES, Counts, candidates_of, count_at, middle_of_best
from moekit.tasks.score.certified import Guarantee, Rate, certify
from moekit.tasks.score.image_kinds import UNKNOWN
from moekit.tasks.score.tail import LARGEST_TAIL, counted_interval, tail_threshold

PASS, REVIEW, UNREADABLE = "pass", "review", "unreadable"
"""Verdicts next to the kit's word for a positive."""

RULES = (
    "accuracy",
    "f1",
    "youden",
    "max-miss=SHARE",
    "max-false-alarm=SHARE",
    "tail=SHARE",
    "certified-miss=SHARE,RISK",
    "certified-false-alarm=SHARE,RISK",
)
_ONE_CLASS = ("max-false-alarm", "tail", "certified-false-alarm")
_PROMISED: dict[str, Rate] = {
    "max-miss": "missed",
    "max-false-alarm": "false_alarm",
    "tail": "false_alarm",
    "certified-miss": "missed",
    "certified-false-alarm": "false_alarm",
}
"""The errors whose share a rule speaks of."""
_BY_TAIL = (
    "they show no tail of their own, so its form is taken for granted and the share beyond the "
    "threshold is hardly known"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """A chosen threshold.

    Attributes:
        threshold: At or above it is positive.
        rule: How it was chosen.
        split: On which split.
        n: From how many scores.
        value: What the rule reached there: its figure, or the share missed or falsely alarmed.
        ci95: Interval of the share missed or falsely alarmed, if the rule speaks of one.
        review: Scores from here up to the threshold are for review; None for no such zone.
        threshold_ci95: Bootstrap interval of the threshold itself; None if it is not known.
        guarantee: What a certified rule promises; None of other rules.
        warning: What the validation data do not support; empty if they do.
    """

    threshold: float
    rule: str
    split: str
    n: int
    value: float
    ci95: tuple[float, float] | None = None
    review: float | None = None
    threshold_ci95: tuple[float, float] | None = None
    guarantee: Guarantee | None = None
    warning: str = ""

    def brief(self) -> dict[str, Any]:
        """The threshold."""
        return {"threshold": self.threshold}

    def as_json(self) -> dict[str, Any]:
        """The point for result.json."""
        promised = _PROMISED.get(self.rule.partition("=")[0])
        share = None if self.ci95 is None else {"value": self.value, "ci95": list(self.ci95)}
        return {
            "value": self.threshold,
            "ci95": None if self.threshold_ci95 is None else list(self.threshold_ci95),
            "rule": self.rule,
            "split": self.split,
            "n": self.n,
            "missed": share if promised == "missed" else None,
            "false_alarm": share if promised == "false_alarm" else None,
            "guarantee": None if self.guarantee is None else self.guarantee.as_json(),
            "warning": self.warning,
        }

    def in_words(self) -> tuple[str, ...]:
        """The point in sentences."""
        between = ""
        if self.threshold_ci95 is not None:
            low, high = self.threshold_ci95
            between = f" [{low:.4f}, {high:.4f}]"
        said = (
            f"threshold {self.threshold:.4f}{between} by the rule {self.rule} on {self.n} images "
            f"of the {self.split} split"
        )
        promised = _PROMISED.get(self.rule.partition("=")[0])
        if promised is not None and self.ci95 is not None:
            low, high = self.ci95
            what = promised.replace("_", " ")
            where = "expected by the fitted tail" if self.rule.startswith("tail") else "there"
            said += f"; {what} {where}: {self.value:.1%} [{low:.1%}, {high:.1%}]"
        promise = () if self.guarantee is None else (self.guarantee.in_words(),)
        return (said, *promise, *((self.warning,) if self.warning else ()))


def choose_threshold(
    scores: np.ndarray,
    labels: np.ndarray,
    *,
    rule: str = "accuracy",
    split: str = "val",
    groups: Sequence[str] | None = None,
) -> OperatingPoint:
    """Chooses the threshold that is best by a rule.

    Candidates lie halfway between neighbouring scores, on the least, and beyond the greatest. Of
    equally good ones the middle of the longest run is taken, so that ties depend on nothing else;
    `max-miss` takes the highest that keeps its promise, `max-false-alarm` the lowest.

    Args:
        scores: (n,) in [0, 1].
        labels: (n,) in {0, 1}; both present, unless the rule looks at negatives only.
        rule: `accuracy`, `f1`, `youden` (sensitivity + specificity - 1; Youden 1950), or
            `max-miss=SHARE`: the highest threshold at which at most that share of positives is
            missed, or `max-false-alarm=SHARE`: the lowest at which at most that share of negatives
            is called positive (specificity of at least 1 - SHARE), or `tail=SHARE`: where a fitted
            tail of the negatives' scores expects that share of them to be beyond, or
            `certified-miss=SHARE,RISK` and `certified-false-alarm=SHARE,RISK`: the same as the
            first two, but of the true share, with a probability of at least 1 - RISK (see
            `moekit.tasks.score.certified`). Rules of false alarms need no positives.
        split: Name of the split, for the record.
        groups: (n) names of groups; an image with an empty one stands by itself. None if all do.

    Raises:
        DataError: A class that the rule needs is missing, or too few images to fit a tail or to
            certify a share.
        UsageError: The rule is unknown.
    """
    point = _chosen(scores, labels, rule, split, groups)
    said = (point.warning, _tells_nothing(point, scores, labels))
    return dataclasses.replace(point, warning=" ".join(filter(None, said)))


def _chosen(
    scores: np.ndarray,
    labels: np.ndarray,
    rule: str,
    split: str,
    groups: Sequence[str] | None,
) -> OperatingPoint:
    name = rule if rule in MEASURES else _promise(rule)[0]
    if not (labels == 0).any() or (name not in _ONE_CLASS and not (labels == 1).any()):
        raise DataError(
            f"the rule {rule} needs scores of both classes",
            whose=f"the {split} split",
            fix="use a validation split that holds both, or with negatives only one of the rules "
            "max-false-alarm=SHARE, certified-false-alarm=SHARE,RISK and tail=SHARE",
            code="data/one-class",
        )
    if name == "tail":
        return _from_tail(scores[labels == 0], rule, split, _warning(rule, labels, groups))
    candidates = candidates_of(scores)
    counts = count_at(scores, labels, candidates)
    if name.startswith("certified"):
        return _certified(scores, labels, candidates, rule=rule, split=split, groups=groups)
    values, best = _judge(counts, rule)
    point = OperatingPoint(
        threshold=float(candidates[best]),
        rule=rule,
        split=split,
        n=len(scores),
        value=float(values[best]),
        warning=_warning(rule, labels, groups),
    )
    if name not in _PROMISED:
        return point
    errors, total = _errors(counts, best, _PROMISED[name])
    return dataclasses.replace(point, ci95=counted_interval(errors, total))


def _tells_nothing(point: OperatingPoint, scores: np.ndarray, labels: np.ndarray) -> str:
    """What is said if the threshold tells no images apart, or the negatives have no tail."""
    whose = f"of the {point.split} split"
    if scores.min() == scores.max():
        return f"All {len(scores)} scores {whose} are equal: no threshold tells images apart."
    called = scores >= point.threshold
    if labels.any() and called.all():
        return f"The threshold calls all {len(scores)} images {whose} positive."
    if labels.any() and not called.any():
        return f"The threshold calls none of {len(scores)} images {whose} positive."
    negatives = scores[labels == 0]
    if point.rule.startswith("tail") and negatives.min() == negatives.max():
        return f"All {len(negatives)} scores of negatives {whose} are equal: they show no tail."
    return ""


def _errors(counts: Counts, best: int, rate: Rate) -> tuple[int, int]:
    """How many images are errors at a candidate, and of how many."""
    if rate == "missed":
        return counts.positives - int(counts.true_positives[best]), counts.positives
    return int(counts.false_positives[best]), counts.negatives


def _warning(rule: str, labels: np.ndarray, groups: Sequence[str] | None) -> str:
    """What is said if a class has too few images, or groups of them, for the rule."""
    if rule in MEASURES:
        both = (_counted(labels, groups, rate) for rate in ("missed", "false_alarm"))
        return too_few(rule, {what: count for count, what in both})
    name, share = _promise(rule)
    count, what = _counted(labels, groups, _PROMISED[name])
    if name == "tail":
        return too_few(rule, {what: count}, _BY_TAIL)
    return unsupported(rule, share, count, what)


def _counted(
    labels: np.ndarray, groups: Sequence[str] | None, rate: Literal["missed", "false_alarm"]
) -> tuple[int, str]:
    """How many images, or groups of them, an error may be among, and what they are called."""
    rows = np.flatnonzero(labels == (rate == "missed"))
    what = "positive" if rate == "missed" else "negative"
    named = [] if groups is None else [groups[row] for row in rows.tolist()]
    if not any(named):
        return len(rows), f"{what} images"
    alone = sum(not name for name in named)
    return len(set(named) - {""}) + alone, f"groups of {what} images"


def _certified(
    scores: np.ndarray,
    labels: np.ndarray,
    candidates: np.ndarray,
    *,
    rule: str,
    split: str,
    groups: Sequence[str] | None,
) -> OperatingPoint:
    name, share = _promise(rule)
    rate = _PROMISED[name]
    rows = np.flatnonzero(labels == (rate == "missed"))
    threshold, promise = certify(
        scores[rows],
        candidates,
        rate=rate,
        at_most=share,
        risk=float(rule.rpartition(",")[2]),
        groups=None if groups is None else [groups[row] for row in rows.tolist()],
    )
    counts = count_at(scores, labels, np.array([threshold]))
    errors, total = _errors(counts, 0, rate)
    return OperatingPoint(
        threshold=threshold,
        rule=rule,
        split=split,
        n=len(scores),
        value=errors / total,
        ci95=counted_interval(errors, total),
        guarantee=promise,
    )


def _from_tail(scores: np.ndarray, rule: str, split: str, warning: str) -> OperatingPoint:
    _, share = _promise(rule)
    threshold, interval = tail_threshold(scores, alarms=share)
    return OperatingPoint(
        threshold=threshold,
        rule=rule,
        split=split,
        n=len(scores),
        value=share,
        ci95=interval,
        warning=warning,
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


def _judge(counts: Counts, rule: str) -> tuple[np.ndarray, int]:
    """What the rule says of each candidate, and the candidate that it chooses."""
    if rule in MEASURES:
        values = MEASURES[rule](counts)
        return values, middle_of_best(values)
    name, share = _promise(rule)
    # Divided like the share was written, so that 2 of 100 is exactly 0.02.
    if name == "max-miss":
        missed = (counts.positives - counts.true_positives) / counts.positives
        return missed, int(np.flatnonzero(missed <= share)[-1])
    alarmed = np.asarray(counts.false_positives / counts.negatives)
    return alarmed, int(np.flatnonzero(alarmed <= share)[0])


def _promise(rule: str) -> tuple[str, float]:
    """The name of a rule and its share."""
    name, _, text = rule.partition("=")
    first, comma, second = text.partition(",")
    certified = name.startswith("certified")
    share, risk = _float(first), _float(second) if certified else 0.5
    known = dict.fromkeys(_PROMISED, 1.0) | {"tail": LARGEST_TAIL}
    least = np.nextafter(0.0, 1.0) if certified or name == "tail" else 0.0
    right = name in known and least <= share < known[name] and 0 < risk < 1
    if not right or bool(comma) != certified:
        raise UsageError(
            f"there is no threshold rule {rule!r}",
            whose="--threshold-rule",
            fix=f"use one of: {', '.join(RULES)}",
            code="usage/unknown-rule",
        )
    return name, share


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return -1.0

"""What is chosen on validation data: when to answer "none of these", or thresholds of labels.

Shapes: N items, C classes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from moekit.data.samples import Sample
from moekit.errors import DataError, UsageError
from moekit.evaluation.bootstrap import Resamples, percentile_interval
from moekit.tasks.parts.support import (
    FEWEST,
    RESAMPLES,
    choice_interval,
    too_few,
    unsupported,
)
from moekit.text import many

if TYPE_CHECKING:
    from moekit.tasks.classify.tally import ClassTally

TOP, REFUSE, F1, FALSE_ALARM = "top", "refuse", "f1", "max-false-alarm"
RULES = ("top", "refuse=SHARE", "f1", "max-false-alarm=SHARE")
"""`top` answers the most probable class, and of several labels means `f1`."""
_MIDDLE = 0.5
Interval = tuple[float, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassPoint:
    """When an item is called none of the classes; for items of one label.

    Attributes:
        rule: How it was chosen: `top` or `refuse=SHARE`.
        n: From how many items of known classes.
        refuse_above: An item whose open-set score is greater is refused; None for never.
        refused: Share of the known items of the split that are refused.
        split: On which split it was chosen.
        ci95: Bootstrap interval of `refuse_above`; None if it is not known.
        warning: What the validation data do not support; empty if they do.
    """

    rule: str = TOP
    n: int = 0
    refuse_above: float | None = None
    refused: float = 0.0
    split: str = "val"
    ci95: Interval | None = None
    warning: str = ""

    def as_json(self) -> dict[str, Any]:
        """The point for result.json."""
        return {
            "rule": self.rule,
            "split": self.split,
            "n": self.n,
            "refuse_above": self.refuse_above,
            "refused": self.refused,
            "ci95": None if self.ci95 is None else list(self.ci95),
            "warning": self.warning,
        }

    def in_words(self) -> tuple[str, ...]:
        """The point in sentences."""
        if self.refuse_above is None:
            return (f"the most probable class is answered, by the rule {self.rule}",)
        between = "" if self.ci95 is None else f" [{self.ci95[0]:.4f}, {self.ci95[1]:.4f}]"
        said = (
            f"refused above an open-set score of {self.refuse_above:.4f}{between}, by the rule "
            f"{self.rule} on {self.n} items of the {self.split} split"
        )
        return (said, *((self.warning,) if self.warning else ()))

    def brief(self) -> dict[str, Any]:
        """What the result of a baseline says of its own point."""
        return {"refuse_above": self.refuse_above}


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelPoint:
    """Thresholds of labels; for items that may have several.

    Attributes:
        thresholds: (C) at or above its threshold a label is answered.
        rule: How they were chosen: `f1` or `max-false-alarm=SHARE`.
        n: From how many items.
        values: (C) what the rule reached: F1, or the share of items without the label that get it;
            None for classes for which nothing could be chosen, whose threshold is 0.5.
        split: On which split they were chosen.
        ci95: (C) bootstrap intervals of the thresholds, None each if not known; empty for none.
        warning: What the validation data do not support; empty if they do.
    """

    thresholds: tuple[float, ...]
    rule: str
    n: int
    values: tuple[float | None, ...]
    split: str = "val"
    ci95: tuple[Interval | None, ...] = ()
    warning: str = ""

    @property
    def thresholds_C(self) -> np.ndarray:
        """(C,) float64 thresholds."""
        return np.array(self.thresholds)

    def as_json(self) -> dict[str, Any]:
        """The point for result.json."""
        return {
            "rule": self.rule,
            "split": self.split,
            "n": self.n,
            "thresholds": list(self.thresholds),
            "values": list(self.values),
            "ci95": [None if one is None else list(one) for one in self.ci95],
            "warning": self.warning,
        }

    def in_words(self) -> tuple[str, ...]:
        """The point in sentences."""
        pairs = list(zip(self.thresholds, self.values, strict=True))
        chosen = [threshold for threshold, value in pairs if value is not None]
        left = [threshold for threshold, value in pairs if value is None]
        whole = len(pairs)
        on = f"by the rule {self.rule} on {self.n} items of the {self.split} split"
        if not chosen:
            said = f"no threshold can be chosen {on}, which tell of no label: all {whole} are "
            return (f"{said}{left[0]:.4f}", *((self.warning,) if self.warning else ()))
        least, most = min(chosen), max(chosen)
        of = f" of {whole}" if left else ""
        rest = f"; the other labels' are {left[0]:.4f}, since no item tells of them" if left else ""
        widths = [high - low for low, high in filter(None, self.ci95)]
        wide = f"; the widest 95% interval of one is {max(widths):.4f} wide" if widths else ""
        said = f"{len(chosen)}{of} thresholds from {least:.4f} to {most:.4f} {on}{wide}{rest}"
        return (said, *((self.warning,) if self.warning else ()))

    def brief(self) -> dict[str, Any]:
        """What the result of a baseline says of its own point."""
        return {"thresholds": list(self.thresholds)}


Chosen = ClassPoint | LabelPoint


def level_of(point: Chosen | None) -> float | None:
    """The mean of the thresholds of labels; None of items of one label."""
    return float(point.thresholds_C.mean()) if isinstance(point, LabelPoint) else None


def moved(point: LabelPoint, level: float) -> LabelPoint:
    """The point with one threshold for all labels."""
    return dataclasses.replace(point, thresholds=(level,) * len(point.thresholds))


def chosen_with_interval(tally: ClassTally, rule: str) -> Chosen:
    """The point of `choose_point`, with the intervals of what was chosen and what it rests on."""
    point = choose_point(tally, rule)
    if isinstance(point, ClassPoint):
        if point.refuse_above is None:
            return point

        def again(rows: np.ndarray) -> float:
            found = choose_point(tally.take(rows), rule)
            assert isinstance(found, ClassPoint)
            assert found.refuse_above is not None
            return found.refuse_above

        share = _parse(rule)[1]
        return dataclasses.replace(
            point,
            ci95=choice_interval(tally, again),
            warning=unsupported(rule, share, point.n, "items"),
        )
    return dataclasses.replace(
        point, ci95=_label_intervals(tally, rule), warning=_label_warning(tally, point.rule)
    )


def _label_intervals(tally: ClassTally, rule: str) -> tuple[Interval | None, ...]:
    drawn = Resamples(tally, seed=0, count=RESAMPLES)
    if drawn.fixed:
        return ()
    found = [choose_point(tally.take(rows), rule) for rows in drawn]
    columns = zip(*(one.thresholds for one in found if isinstance(one, LabelPoint)), strict=True)
    return tuple(percentile_interval(np.array(column)) for column in columns)


def _label_warning(tally: ClassTally, rule: str) -> str:
    rule_name, share = _parse(rule)
    if tally.labels_NC is None:
        return ""
    if rule_name == F1:
        return _f1_warning(rule, tally.labels_NC, tally.classes)
    fewest = int((tally.labels_NC == 0).sum(0).min(initial=len(tally)))
    return unsupported(rule, share, max(fewest, 1), "items without a label")


def _f1_warning(rule: str, labels_NC: np.ndarray, classes: Sequence[str]) -> str:
    """What is said of the rarest label of those that items have; the others have no threshold."""
    count_C = labels_NC.sum(0)
    scarce = [place for place in np.argsort(count_C, kind="stable") if 0 < count_C[place] < FEWEST]
    if not scarce:
        return ""
    others = many(len(scarce) - 1, "other label has", "other labels have")
    more = f" ({others} fewer than {FEWEST} too)" if len(scarce) > 1 else ""
    least = int(count_C[scarce[0]])
    what = f"item{'s' * (least != 1)} with the label {classes[scarce[0]]}{more}"
    return too_few(rule, {what: least})


def choose_point(tally: ClassTally, rule: str) -> Chosen:
    """Chooses the point by a rule, on validation data only.

    Args:
        tally: Of the validation split.
        rule: `top`; `refuse=SHARE`: the lowest bound of the open-set score by which at most that
            share of the known items is refused; of several labels `f1`: of each class the threshold
            with the greatest F1 (of equals the middle of the longest run), or
            `max-false-alarm=SHARE`: the lowest by which at most that share of the items without the
            label gets it.

    Raises:
        DataError: The head gives no open-set score, or no item is of a known class.
        UsageError: The rule is unknown, or one for the other kind of labels.
    """
    rule_name, share = _check_name(rule, several=tally.labels_NC is not None)
    if tally.labels_NC is not None:
        return _thresholds(tally.probability_NC, tally.labels_NC, rule, share)
    unseen_N = tally.unseen_N
    known_N = np.ones(len(tally), dtype=bool) if unseen_N is None else unseen_N == 0
    if rule_name == TOP:
        return ClassPoint(rule=rule, n=int(known_N.sum()))
    if tally.unlike_N is None or not known_N.any():
        raise DataError(
            f"the rule {rule} needs open-set scores of items of known classes",
            whose="the val split",
            fix="use a head that gives `unlike_B`, as ClassHead does, or the rule top",
            code="data/no-open-scores",
        )
    return _refusal(tally.unlike_N[known_N], rule, share)


def check_rule(rule: str, samples: Sequence[Sample]) -> None:
    """Says before a training, not after it, that a rule is unknown or for other labels.

    Raises:
        UsageError: It is.
    """
    _check_name(rule, several=any(sample.labels is not None for sample in samples))


def _check_name(rule: str, *, several: bool) -> tuple[str, float]:
    """The name of a rule for items of one label or of several, and its share."""
    rule_name, share = _parse(rule)
    if several and rule_name == REFUSE:
        raise _not_for(rule, "items with several labels", ("f1", "max-false-alarm=SHARE"))
    if not several and rule_name in (F1, FALSE_ALARM):
        raise _not_for(rule, "items with one label", ("top", "refuse=SHARE"))
    return rule_name, share


def _refusal(unlike_N: np.ndarray, rule: str, share: float) -> ClassPoint:
    """The lowest score above which at most `share` of the items lie."""
    candidates = np.unique(unlike_N)
    # Divided like the share was written, so that 2 of 100 is exactly 0.02.
    refused = (len(unlike_N) - np.searchsorted(np.sort(unlike_N), candidates, side="right")) / len(
        unlike_N
    )
    best = int(np.flatnonzero(refused <= share)[0])
    return ClassPoint(
        rule=rule,
        n=len(unlike_N),
        refuse_above=float(candidates[best]),
        refused=float(refused[best]),
    )


def _thresholds(
    probability_NC: np.ndarray, labels_NC: np.ndarray, rule: str, share: float
) -> LabelPoint:
    rule_name = F1 if rule == TOP else _parse(rule)[0]
    chosen = [
        _best_f1(column, truth > 0) if rule_name == F1 else _fewest_alarms(column, truth > 0, share)
        for column, truth in zip(probability_NC.T, labels_NC.T, strict=True)
    ]
    return LabelPoint(
        thresholds=tuple(threshold for threshold, _ in chosen),
        rule=F1 if rule == TOP else rule,
        n=len(probability_NC),
        values=tuple(value for _, value in chosen),
    )


def _best_f1(column: np.ndarray, truth: np.ndarray) -> tuple[float, float | None]:
    if not truth.any():
        return _MIDDLE, None
    candidates = _candidates(column)
    hits = truth.sum() - np.searchsorted(np.sort(column[truth]), candidates, side="left")
    called = len(column) - np.searchsorted(np.sort(column), candidates, side="left")
    values = 2 * hits / (called + truth.sum())
    best = np.flatnonzero(values >= values.max() - 1e-12)
    runs = np.split(best, np.flatnonzero(np.diff(best) > 1) + 1)
    longest = max(runs, key=len)
    place = int(longest[len(longest) // 2])
    return float(candidates[place]), float(values[place])


def _fewest_alarms(
    column: np.ndarray, truth: np.ndarray, share: float
) -> tuple[float, float | None]:
    negatives = np.sort(column[~truth])
    if not len(negatives):
        return _MIDDLE, None
    candidates = _candidates(column)
    alarmed = (len(negatives) - np.searchsorted(negatives, candidates, side="left")) / len(
        negatives
    )
    place = int(np.flatnonzero(alarmed <= share)[0])
    return float(candidates[place]), float(alarmed[place])


def _candidates(column: np.ndarray) -> np.ndarray:
    """Thresholds on the least value, halfway between neighbours, and beyond the greatest."""
    unique = np.unique(column)
    between = (unique[1:] + unique[:-1]) / 2
    return np.concatenate([[unique[0]], between, [np.nextafter(unique[-1], np.inf)]])


def _parse(rule: str) -> tuple[str, float]:
    rule_name, equals, text = rule.partition("=")
    if rule_name in (TOP, F1) and not equals:
        return rule_name, 0.0
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if rule_name not in (REFUSE, FALSE_ALARM) or not 0 <= share < 1:
        raise UsageError(
            f"there is no threshold rule {rule!r}",
            whose="--threshold-rule",
            fix=f"use one of: {', '.join(RULES)}",
            code="usage/unknown-rule",
        )
    return rule_name, share


def _not_for(rule: str, what: str, instead: Sequence[str]) -> UsageError:
    return UsageError(
        f"the rule {rule} is not for {what}",
        whose="--threshold-rule",
        fix=f"use one of: {', '.join(instead)}",
        code="usage/not-for-task",
    )

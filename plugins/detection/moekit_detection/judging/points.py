"""From which score on an object is reported: a threshold of each class, from validation data.

Shapes: D found objects of a split, G those of a picture, C classes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from moekit import DataError, Level, Sample, UsageError
from moekit_detection.judging.matches import Matches
from moekit_detection.records import Objects, objects_of

F1, ALARMS = "f1", "max-false-alarms"
RULES = (F1, f"{ALARMS}=NUMBER")
DEFAULT = 0.5
"""The threshold of a class of which the validation split has no object, and without a point."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DetectPoint:
    """Thresholds of scores.

    Attributes:
        thresholds: (C) a found object of at least that score is reported.
        rule: How they were chosen: `f1` or `max-false-alarms=NUMBER`.
        pictures: From how many pictures.
        objects: From how many true objects.
        values: (C) what the rule reached: F1, or false alarms in all pictures; None for classes of
            which nothing could be chosen, since nothing true is there or found.
        false_alarms: A picture, of all classes, on that split.
        split: On which split they were chosen.
        warning: What the validation data do not support; empty if they do.
    """

    thresholds: tuple[float, ...]
    rule: str
    pictures: int
    objects: int
    values: tuple[float | None, ...]
    false_alarms: float
    split: str = "val"
    warning: str = ""

    @property
    def thresholds_C(self) -> np.ndarray:
        """(C,) float64 thresholds."""
        return np.array(self.thresholds)

    def kept(self, objects: Objects) -> np.ndarray:
        """(G,) bool, which objects are reported."""
        scores = objects.score_G
        assert scores is not None
        kept_G: np.ndarray = scores >= self.thresholds_C[objects.label_G]
        return kept_G

    def as_json(self) -> dict[str, Any]:
        """The point for result.json."""
        return {**dataclasses.asdict(self), "thresholds": list(self.thresholds)}

    def in_words(self) -> tuple[str, ...]:
        """The point in sentences."""
        least, most = min(self.thresholds), max(self.thresholds)
        said = (
            f"objects are reported from scores of {least:.4f} to {most:.4f} on, by class, by the "
            f"rule {self.rule} on {self.objects} objects in {self.pictures} pictures of the "
            f"{self.split} split, with {self.false_alarms:.2f} false alarms a picture there"
        )
        return (said, *((self.warning,) if self.warning else ()))

    def brief(self) -> dict[str, Any]:
        """What the result of a baseline says of its own point."""
        return {"thresholds": list(self.thresholds)}


class Judged(Protocol):
    """What a point is chosen from; `DetectTally` says what its parts are."""

    @property
    def classes(self) -> tuple[str, ...]:
        """(C) names."""

    @property
    def matches(self) -> Matches:
        """Of I pictures."""

    @property
    def weights_I(self) -> np.ndarray:
        """(I,) how often each of them is there."""

    def __len__(self) -> int:
        """How many pictures there are, repeated ones counted as often as they are there."""


def _level_of(point: DetectPoint | None) -> float | None:
    """The mean of the thresholds."""
    return None if point is None else float(point.thresholds_C.mean())


def _moved(point: DetectPoint, level: float) -> DetectPoint:
    """The point with one threshold for all classes."""
    return dataclasses.replace(point, thresholds=(level,) * len(point.thresholds))


LEVEL = Level(of=_level_of, moved=_moved)
"""What a reader of answers may move."""


def thresholds_of(point: Any, classes: int) -> np.ndarray:
    """(C,) the thresholds of a point; 0.5 each without one."""
    thresholds_C: np.ndarray = np.full(classes, DEFAULT) if point is None else point.thresholds_C
    return thresholds_C


def choose_point(tally: Judged, rule: str) -> DetectPoint:
    """Chooses thresholds by a rule, on validation data only.

    Args:
        tally: Of the validation split.
        rule: `f1`: of each class the threshold with the greatest F1 at IoU 0.5;
            `max-false-alarms=NUMBER`: one threshold for all classes, the lowest by which a picture
            has at most that many false alarms on average.

    Raises:
        DataError: The split has no object.
        UsageError: The rule is unknown.
    """
    rule_name, most = parse(rule)
    matches = tally.matches
    weight_I = tally.weights_I.astype(np.float64)
    counted_G = matches.counted_GA[:, 0]
    true_C = np.bincount(
        matches.class_G[counted_G], weight_I[matches.image_G[counted_G]], matches.classes
    )
    if not true_C.any():
        raise _no_objects()
    right_D = weight_I[matches.image_D] * (matches.hit_DA[:, 0] & 1)
    wrong_D = weight_I[matches.image_D] * (
        (matches.hit_DA[:, 0] | matches.ignored_DA[:, 0]) & 1 == 0
    )
    if rule_name == F1:
        chosen = [
            _best_f1(matches.score_D[own], right_D[own], wrong_D[own], float(true_C[label]))
            for label in range(matches.classes)
            for own in (matches.class_D == label,)
        ]
    else:
        chosen = [_fewest_alarms(matches.score_D, wrong_D, most * len(tally))] * matches.classes
    thresholds_C = np.array([threshold for threshold, _ in chosen])
    alarms = float(wrong_D[matches.score_D >= thresholds_C[matches.class_D]].sum())
    unknown = [
        name for name, (_, value) in zip(tally.classes, chosen, strict=True) if value is None
    ]
    return DetectPoint(
        thresholds=tuple(thresholds_C.tolist()),
        rule=rule,
        pictures=len(tally),
        objects=int(true_C.sum()),
        values=tuple(value for _, value in chosen),
        false_alarms=alarms / len(tally),
        warning=_warning(unknown),
    )


def check_rule(rule: str, samples: Sequence[Sample]) -> None:
    """Refuses an unknown rule, and a validation split without an object.

    Raises:
        DataError: No sample has an object.
        UsageError: The rule is unknown.
    """
    parse(rule)
    if not any((~objects_of(sample).crowd_G).any() for sample in samples):
        raise _no_objects()


def parse(rule: str) -> tuple[str, float]:
    """The name of a rule and its number.

    Raises:
        UsageError: The rule is unknown.
    """
    rule_name, equals, text = rule.partition("=")
    if rule_name == F1 and not equals:
        return rule_name, 0.0
    try:
        most = float(text)
    except ValueError:
        most = -1.0
    if rule_name != ALARMS or not 0 <= most < float("inf"):
        raise UsageError(
            f"there is no threshold rule {rule!r}",
            whose="--threshold-rule",
            fix=f"use one of: {', '.join(RULES)}",
            code="usage/unknown-rule",
        )
    return rule_name, most


def _best_f1(
    score_D: np.ndarray, right_D: np.ndarray, wrong_D: np.ndarray, true: float
) -> tuple[float, float | None]:
    """The threshold, and F1 there; halfway to the next lower score, so that it is no found one."""
    if not true or not right_D.any():
        return DEFAULT, None
    right, wrong = np.cumsum(right_D), np.cumsum(wrong_D)
    last = np.flatnonzero(np.append(np.diff(score_D) != 0, True))
    value = 2 * right[last] / (right[last] + wrong[last] + true)
    best = int(value.argmax())
    lower = score_D[last[best] + 1] if last[best] + 1 < len(score_D) else 0.0
    return float((score_D[last[best]] + lower) / 2), float(value[best])


def _fewest_alarms(
    score_D: np.ndarray, wrong_D: np.ndarray, most: float
) -> tuple[float, float | None]:
    order = np.argsort(-score_D, kind="stable")
    wrong, score = np.cumsum(wrong_D[order]), score_D[order]
    last = np.flatnonzero(np.append(np.diff(score) != 0, True)) if len(score) else order
    allowed = last[wrong[last] <= most + 1e-9]
    if not len(allowed):
        return float(np.nextafter(score[0], 2)) if len(score) else DEFAULT, 0.0
    end = int(allowed[-1])
    lower = score[end + 1] if end + 1 < len(score) else 0.0
    return float((score[end] + lower) / 2), float(wrong[end])


def _warning(unknown: Sequence[str]) -> str:
    if not unknown:
        return ""
    few = ", ".join(unknown[:3]) + (f" and {len(unknown) - 3} more" if len(unknown) > 3 else "")
    return (
        f"The validation split has nothing to choose by for {few}: reported from a score of "
        f"{DEFAULT} on."
    )


def _no_objects() -> DataError:
    return DataError(
        "no picture of it has an object, so no threshold can be chosen",
        whose="the validation split",
        fix="give it pictures with objects",
        code="data/no-objects",
    )

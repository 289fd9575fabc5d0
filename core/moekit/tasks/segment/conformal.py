"""A point with a guarantee on missed foreground: conformal risk control.

Angelopoulos, Bates, Fisch, Lei and Schuster 2022, arXiv:2208.02814. The logits of background are
lowered by a bias, so that more pixels are answered as foreground. The loss of a picture is the
share of its true foreground that is answered as background; it only falls as the bias rises. Of a
grid of biases the least is chosen by which (n R + 1) / (n + 1) is at most the share asked for, R
being the mean loss of n pictures. Then the expected loss of a new picture is at most that share, if
it is drawn as those were.

Shapes: N pictures, L biases, C classes, h and w rows and columns of the logits.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection
from typing import Any, Literal

import numpy as np
from torch import Tensor

from moekit.data.geometry import Frame, Size
from moekit.data.mask_table import IGNORED
from moekit.errors import DataError, UsageError
from moekit.evaluation.bootstrap import number_groups
from moekit.tasks.parts.support import choice_interval, drawn_groups
from moekit.tasks.segment.enlarge import margin_map

RULES = ("", "conformal-miss=SHARE")
"""The first one, which has no name, answers the greatest logit."""
BIASES = np.arange(0, 24.01, 0.25)
"""(L,) in logits."""
_KIND = "conformal-miss"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SegmentPoint:
    """By how much the logits of background are lowered.

    Attributes:
        bias: In logits, 0 or more.
        rule: How it was chosen.
        at_most: The share of missed foreground that is promised for the mean of new pictures.
        n: From how many pictures, or groups of pictures, with foreground.
        value: Their mean share of missed foreground at this bias.
        unit: `picture`, or `group`, whose loss is the mean of its pictures.
        split: On which split.
        ci95: Bootstrap interval of the bias; None if it is not known.
    """

    bias: float
    rule: str
    at_most: float
    n: int
    value: float
    unit: Literal["picture", "group"] = "picture"
    split: str = "val"
    ci95: tuple[float, float] | None = None

    @property
    def assumption(self) -> str:
        """What must hold for the promise."""
        return (
            f"new {self.unit}s with foreground are drawn as those of the {self.split} split were "
            "(exchangeable draws), and the weights were not chosen by that split: the epoch that "
            "adapt kept is taken as given"
        )

    def brief(self) -> dict[str, Any]:
        """The bias."""
        return {"bias": self.bias}

    def as_json(self) -> dict[str, Any]:
        """The point for result.json."""
        return {
            **dataclasses.asdict(self),
            "ci95": None if self.ci95 is None else list(self.ci95),
            "method": "conformal risk control (arXiv:2208.02814)",
            "assumption": self.assumption,
        }

    def in_words(self) -> tuple[str, ...]:
        """The point in sentences."""
        between = "" if self.ci95 is None else f" [{self.ci95[0]:.2f}, {self.ci95[1]:.2f}]"
        return (
            f"logits of background lowered by {self.bias:.2f}{between} by the rule {self.rule} on "
            f"{self.n} {self.unit}s of the {self.split} split, of whose foreground "
            f"{self.value:.1%} is missed there",
            f"Certified: of the foreground of a new {self.unit} at most {self.at_most:.3g} is "
            f"missed, as a mean (conformal risk control). Assumed: {self.assumption}.",
        )


def missed_counts(
    logit_Chw: Tensor, truth_HW: np.ndarray, frame: Frame, size: Size, background: Collection[int]
) -> np.ndarray:
    """(L,) int64 pixels of true foreground that are answered as background at each bias.

    Args:
        logit_Chw: (C, h, w) float32 over the whole input.
        truth_HW: (H, W) class numbers.
        frame: How the picture lies in the input.
        size: (H, W) of the picture.
        background: Numbers of the classes that are background.
    """
    front_HW = (truth_HW != IGNORED) & ~np.isin(truth_HW, list(background))
    if not front_HW.any():
        return np.zeros(len(BIASES), dtype=np.int64)
    margin = np.sort(-margin_map(logit_Chw, frame, size, background)[front_HW])
    # Lowered by a bias, background still wins if its lead is at least as great.
    return len(margin) - np.searchsorted(margin, BIASES, side="left")


def choose_bias(tally: Any, rule: str) -> SegmentPoint | None:
    """Chooses the bias by a rule, with its interval; None for the rule without a name.

    Args:
        tally: A `SegmentTally` of the validation split.
        rule: One of `RULES`.

    Raises:
        DataError: The tally says nothing of biases, there are too few pictures, or no bias of the
            grid is enough.
        UsageError: The rule is unknown.
    """
    share = share_of_rule(rule)
    if share is None:
        return None
    point = _controlled(tally, rule, share)

    def again(rows: np.ndarray) -> float:
        drawn = tally.take(rows)
        if tally.groups is not None:
            drawn = dataclasses.replace(drawn, groups=drawn_groups(tally.groups, rows))
        return _controlled(drawn, rule, share).bias

    return dataclasses.replace(point, ci95=choice_interval(tally, again))


def share_of_rule(rule: str) -> float | None:
    """The share that a rule asks for; None for the rule without a name.

    Raises:
        UsageError: The rule is unknown.
    """
    if not rule:
        return None
    kind, _, text = rule.partition("=")
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if kind != _KIND or not 0 < share < 1:
        raise UsageError(
            f"there is no threshold rule {rule!r}",
            whose="--threshold-rule",
            fix=f"use {RULES[1]}, or leave it out",
            code="usage/unknown-rule",
        )
    return share


def _controlled(tally: Any, rule: str, share: float) -> SegmentPoint:
    if tally.missed_NL is None:
        raise DataError(
            f"the rule {rule} needs counts of missed foreground, which the run does not have",
            whose="the validation split",
            fix="make the run again with this version of moekit and classes that are background",
            code="data/no-tallies",
        )
    front_N = np.delete(tally.confusion_NCC, list(tally.background), axis=1).sum((1, 2))
    rows = np.flatnonzero(front_N)
    loss_NL = tally.missed_NL[rows] / front_N[rows, None]
    unit: Literal["picture", "group"] = "picture"
    if tally.groups is not None:
        unit = "group"
        number_N = number_groups([tally.groups[row] for row in rows])
        sizes_M = np.bincount(number_N)
        sums_ML = np.zeros((len(sizes_M), len(BIASES)))
        np.add.at(sums_ML, number_N, loss_NL)
        loss_NL = sums_ML / sizes_M[:, None]
    count, least = len(loss_NL), math.ceil(1 / share - 1 - 1e-9)
    if count < max(least, 1):
        raise DataError(
            f"{count} {unit}s with foreground cannot hold the missed share to {share:g}",
            whose="the validation split",
            fix=f"give at least {max(least, 1)} there, or allow a greater share",
            code="data/too-few",
        )
    risk_L = loss_NL.mean(0)
    enough = np.flatnonzero((count * risk_L + 1) / (count + 1) <= share + 1e-12)
    if not len(enough):
        raise DataError(
            f"no bias up to {BIASES[-1]:g} holds the missed share to {share:g}: at the greatest "
            f"{risk_L[-1]:.1%} is missed",
            whose="the validation split",
            fix="allow a greater share, give more pictures, or train a better model",
            code="data/not-reachable",
        )
    best = int(enough[0])
    return SegmentPoint(
        bias=float(BIASES[best]),
        rule=rule,
        at_most=share,
        n=count,
        value=float(risk_L[best]),
        unit=unit,
    )

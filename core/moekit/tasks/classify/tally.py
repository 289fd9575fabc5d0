"""What is known of the items of a split once a model has answered them: probabilities and truth.

Shapes: B items of a batch, N items of a split, C classes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from moekit.contract.answers import Item, TaskContext
from moekit.contract.outputs import Outputs
from moekit.data.samples import UNSEEN, Sample
from moekit.errors import DataError
from moekit.tasks.classify.refusal import refused_rows
from moekit.tasks.parts.names import names_at, optional_names

_ROUNDING = 1e-6
SHOWN = 12
"""Items of each kind of mistake that are shown."""


_ONE_EACH = "it is of items with several labels, and these have one each"
_SEVERAL = "it is of items with one label each, and these may have several"
LACKING = {
    "labels_N": _SEVERAL,
    "unseen_N": _SEVERAL,
    "labels_NC": _ONE_EACH,
    "unlike_N": "the answers hold no open-set score, which says how unlike all classes an item is",
    "thresholds_C": "no threshold was chosen for each label",
}
"""Why a tally has no such field, or a point no such attribute."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassTally:
    """One model's probabilities next to the truth, in the order of the data set.

    Just one of `labels_N` and `labels_NC` is given.

    Attributes:
        ids: (N) ids of the samples.
        classes: (C) names of the classes.
        probability_NC: (N, C) float64 in [0, 1]; rows sum to 1 if items have one label.
        labels_N: (N,) int64, the class of each item, `UNSEEN` for items of no class.
        labels_NC: (N, C) int64 in {0, 1}, the labels of items that may have several.
        groups: (N) group names, or None.
        subtypes: (N) stratum names, or None.
        facts: (N) values of each fact of the samples, by its name.
        unlike_N: (N,) float64, how unlike all classes each item is; None if heads do not say.
    """

    ids: tuple[str, ...]
    classes: tuple[str, ...]
    probability_NC: np.ndarray
    labels_N: np.ndarray | None = None
    labels_NC: np.ndarray | None = None
    groups: tuple[str, ...] | None = None
    subtypes: tuple[str, ...] | None = None
    facts: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    unlike_N: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def several(self) -> bool:
        """Whether items may have several labels."""
        return self.labels_NC is not None

    @property
    def strata_N(self) -> np.ndarray:
        """(N,) the labels; one stratum for all if items may have several."""
        if self.labels_N is None:
            return np.zeros(len(self), dtype=np.int64)
        return self.labels_N

    @property
    def unseen_N(self) -> np.ndarray | None:
        """(N,) int64, 1 for items of no class; None if items may have several labels."""
        return None if self.labels_N is None else (self.labels_N == UNSEEN).astype(np.int64)

    def field(self, name: str) -> Any:
        """`probability_NC`, `labels_N`, `labels_NC`, `unlike_N` or `unseen_N`; None without it."""
        known = ("probability_NC", "labels_N", "labels_NC", "unlike_N", "unseen_N")
        return getattr(self, name) if name in known else None

    def take(self, rows: np.ndarray) -> ClassTally:
        """The tally of the items at these positions."""

        def cut(values: np.ndarray | None) -> np.ndarray | None:
            return None if values is None else values[rows]

        return ClassTally(
            ids=tuple(self.ids[row] for row in rows),
            classes=self.classes,
            probability_NC=self.probability_NC[rows],
            labels_N=cut(self.labels_N),
            labels_NC=cut(self.labels_NC),
            groups=names_at(self.groups, rows),
            subtypes=names_at(self.subtypes, rows),
            facts={name: tuple(values[row] for row in rows) for name, values in self.facts.items()},
            unlike_N=cut(self.unlike_N),
        )

    def worst(self, point: Any) -> Mapping[str, np.ndarray]:
        """Positions of mistakes, the worst first, at most `SHOWN` of a kind.

        Of one label: `confused` (another class is more probable, by how much), `refused` (known,
        but called none of these, the strangest first) and `not_refused` (of no class, but given
        one, the most probable first). Of several: `missed` and `false_alarm`, by how far the worst
        label of the item lies on the wrong side of its threshold.
        """
        if self.labels_N is None:
            return self._worst_of_several(point)
        refused_N = refused_rows(point, self.unlike_N, len(self))
        unseen_N = self.labels_N == UNSEEN
        top_N = self.probability_NC.max(1, initial=0.0)
        own_N = self.probability_NC[np.arange(len(self)), np.maximum(self.labels_N, 0)]
        strange_N = np.zeros(len(self)) if self.unlike_N is None else self.unlike_N
        wrong_N = self.probability_NC.argmax(1) != self.labels_N
        return {
            "confused": _ordered(~unseen_N & ~refused_N & wrong_N, top_N - own_N),
            "refused": _ordered(~unseen_N & refused_N, strange_N),
            "not_refused": _ordered(unseen_N & ~refused_N, top_N),
        }

    def right(self, point: Any) -> Mapping[str, np.ndarray]:
        """Positions of items with the right answer, the most probable first.

        Of several labels these are the items that get all of theirs and no other.
        """
        if self.labels_NC is not None:
            given_NC = self.probability_NC >= point.thresholds_C
            there_NC = self.labels_NC == 1
            whole_N = there_NC.any(1) & (given_NC == there_NC).all(1)
            sure_N = np.where(there_NC, self.probability_NC, 1.0).min(1, initial=1.0)
        else:
            whole_N = self.probability_NC.argmax(1) == self.labels_N
            whole_N &= ~refused_rows(point, self.unlike_N, len(self))
            sure_N = self.probability_NC.max(1, initial=0.0)
        rows = np.flatnonzero(whole_N)
        return {"right": rows[np.argsort(-sure_N[rows], kind="stable")]}

    def _worst_of_several(self, point: Any) -> Mapping[str, np.ndarray]:
        over_NC = self.probability_NC - point.thresholds_C
        truth_NC = self.labels_NC == 1
        missed_N = np.where(truth_NC, -over_NC, -np.inf).max(1)
        alarm_N = np.where(truth_NC, -np.inf, over_NC).max(1)
        return {
            "missed": _ordered(missed_N > 0, missed_N),
            "false_alarm": _ordered(alarm_N >= 0, alarm_N),
        }


def _ordered(chosen_N: np.ndarray, badness_N: np.ndarray) -> np.ndarray:
    rows = np.flatnonzero(chosen_N)
    order: np.ndarray = rows[np.argsort(-badness_N[rows], kind="stable")][:SHOWN]
    return order


def tally_of(
    samples: Sequence[Sample],
    classes: Sequence[str],
    probability_NC: np.ndarray,
    *,
    unlike_N: np.ndarray | None = None,
) -> ClassTally:
    """A tally of samples with their probabilities, in the same order.

    Raises:
        DataError: Only some samples have several labels.
    """
    several = {sample.labels is not None for sample in samples}
    if len(several) > 1:
        raise DataError(
            "some samples have one label, others several",
            whose=samples[0].id,
            fix="give all samples of a data set the one or the other",
            code="data/mixed-labels",
        )
    names = sorted({name for sample in samples for name in sample.facts})
    labels_NC = None
    if several == {True}:
        labels_NC = np.zeros((len(samples), len(classes)), dtype=np.int64)
        for row, sample in enumerate(samples):
            labels_NC[row, list(sample.all_labels)] = 1
    return ClassTally(
        ids=tuple(sample.id for sample in samples),
        classes=tuple(classes),
        probability_NC=probability_NC,
        labels_N=(
            np.array([sample.label for sample in samples], dtype=np.int64)
            if labels_NC is None
            else None
        ),
        labels_NC=labels_NC,
        groups=optional_names([sample.group or "" for sample in samples]),
        subtypes=optional_names([sample.subtype or "" for sample in samples]),
        facts={name: tuple(sample.facts.get(name, "") for sample in samples) for name in names},
        unlike_N=unlike_N,
    )


class ClassTallier:
    """Adds up a split, batch by batch.

    Args:
        context: Of the run.
        models: How many models answer.
    """

    def __init__(self, context: TaskContext, models: int) -> None:
        self._context = context
        self._samples: list[Sample] = []
        self._logits: list[list[np.ndarray]] = [[] for _ in range(models)]
        self._unlike: list[list[np.ndarray]] = [[] for _ in range(models)]

    def add(self, items: Sequence[Item], outputs: Sequence[Outputs]) -> None:
        """See `Tallier`. Items have their samples.

        Raises:
            DataError: An item has no sample.
        """
        for item in items:
            if item.sample is None:
                raise DataError(
                    "the truth of an item is not known",
                    whose=item.id,
                    fix="evaluate a data set",
                    code="data/no-truth",
                )
            self._samples.append(item.sample)
        for model, given in enumerate(outputs):
            self._logits[model].append(given["logit_BC"].detach().cpu().double().numpy())
            if "unlike_B" in given:
                self._unlike[model].append(given["unlike_B"].detach().cpu().double().numpy())

    def finish(self) -> tuple[ClassTally, ...]:
        """The tally of each model, in the order of the outputs."""
        several = any(sample.labels is not None for sample in self._samples)
        classes = self._context.classes
        tallies = []
        for logits, unlike in zip(self._logits, self._unlike, strict=True):
            logit_NC = np.concatenate(logits) if logits else np.zeros((0, len(classes)))
            probability_NC = probabilities(logit_NC, several=several)
            unlike_N = np.concatenate(unlike) if unlike else None
            tallies.append(tally_of(self._samples, classes, probability_NC, unlike_N=unlike_N))
        return tuple(tallies)


def probabilities(logit_NC: np.ndarray, *, several: bool) -> np.ndarray:
    """(N, C) float64: softmax over classes, or of several labels the sigmoid of each logit."""
    if several:
        # exp(-log(1 + exp(-x))), which overflows nowhere
        sigmoid: np.ndarray = np.exp(-np.logaddexp(0, -logit_NC))
        return sigmoid
    raised = np.exp(logit_NC - logit_NC.max(1, keepdims=True, initial=-np.inf))
    shares: np.ndarray = raised / raised.sum(1, keepdims=True)
    return shares


def check_tallies(tallies: Sequence[ClassTally]) -> None:
    """Checks the values of tallies.

    Raises:
        DataError: A probability is not a number in [0, 1], a row does not sum to 1, an open-set
            score is not a number, or a label is no class.
    """
    for model, tally in zip(("kit", "baseline"), tallies, strict=False):
        odd_N = ~((tally.probability_NC >= 0) & (tally.probability_NC <= 1)).all(1)
        if not tally.several:
            odd_N |= ~(np.abs(tally.probability_NC.sum(1) - 1) < _ROUNDING)
        if tally.unlike_N is not None:
            odd_N |= ~np.isfinite(tally.unlike_N)
        if odd_N.any():
            raise DataError(
                f"the {model} gives an item probabilities that are no numbers from 0 to 1, do not "
                "sum to 1, or an open-set score that is no number",
                whose=tally.ids[int(np.flatnonzero(odd_N)[0])],
                fix="check that training did not diverge, or evaluate with --precision fp32",
                code="data/bad-scores",
            )
        if tally.labels_N is not None:
            wrong_N = (tally.labels_N < UNSEEN) | (tally.labels_N >= len(tally.classes))
            if wrong_N.any():
                raise DataError(
                    "an item has a label that is no class",
                    whose=tally.ids[int(np.flatnonzero(wrong_N)[0])],
                    fix="check the labels of the data set",
                    code="data/unknown-class",
                )

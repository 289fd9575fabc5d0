"""What is known of the pictures of a split once one model has answered them.

Shapes: N pictures, C classes, H and W rows and columns of a picture.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from moekit.contract.answers import Item, TaskContext
from moekit.contract.outputs import Outputs
from moekit.data.mask_table import IGNORED
from moekit.data.samples import Sample
from moekit.errors import DataError
from moekit.tasks.parts.names import impossible, names_at, optional_names
from moekit.tasks.segment.boundary import boundary_counts
from moekit.tasks.segment.classes import background_of, foreground_share
from moekit.tasks.segment.conformal import missed_counts
from moekit.tasks.segment.enlarge import class_map, lowered
from moekit.tasks.segment.head import LOGIT
from moekit.tasks.segment.metrics import foreground_confusion, image_iou
from moekit.tasks.segment.truth import read_truth

WORST, FOUND = "lowest-iou", "found"
MISSED = "missed-foreground"
FALSE = "false-foreground"
_DRAWN = 10
"""Pictures of each kind of mistake that are shown, at most."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SegmentTally:
    """Counts of pixels of each picture.

    Attributes:
        ids: (N) ids of the samples.
        classes: (C) names.
        background: Numbers of the classes that are background.
        confusion_NCC: (N, C, C) int64 pixels by truth (rows) and answer (columns).
        boundary_NC3: (N, C, 3) int64, see `boundary_counts`.
        predicted_NC: (N, C) int64 pixels of the answer, those that do not count among them.
        ignored_N: (N,) int64 pixels that do not count.
        groups: (N) names of groups, or None.
        subtypes: (N) names of strata that are reported by themselves, or None.
        facts: (N) values of each fact by its name.
        missed_NL: (N, L) int64 pixels of foreground that are missed at each bias of
            `moekit.tasks.segment.conformal`; None if nothing is to be chosen.
    """

    ids: tuple[str, ...]
    classes: tuple[str, ...]
    background: tuple[int, ...]
    confusion_NCC: np.ndarray
    boundary_NC3: np.ndarray
    predicted_NC: np.ndarray
    ignored_N: np.ndarray
    groups: tuple[str, ...] | None = None
    subtypes: tuple[str, ...] | None = None
    facts: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    missed_NL: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def strata_N(self) -> np.ndarray:
        """(N,) int64, all 0: pictures are drawn without strata."""
        return np.zeros(len(self.ids), dtype=np.int64)

    @property
    def image_iou_N(self) -> np.ndarray:
        """(N,) float64, see `moekit.tasks.segment.metrics.image_iou`."""
        return image_iou(self.confusion_NCC, self.background)

    @property
    def foreground_N(self) -> np.ndarray:
        """(N,) float64 in [0, 1], the share of each answer's pixels that is foreground."""
        return foreground_share(self.predicted_NC, self.background)

    def field(self, name: str) -> Any:
        """A field by its name, or None."""
        known = (
            *("ids", "classes", "background", "confusion_NCC", "boundary_NC3", "predicted_NC"),
            *("ignored_N", "image_iou_N", "foreground_N", "groups", "subtypes", "strata_N"),
        )
        return getattr(self, name) if name in known else None

    def take(self, rows: np.ndarray) -> SegmentTally:
        """The tally of the pictures at these positions."""
        return dataclasses.replace(
            self,
            ids=tuple(self.ids[row] for row in rows),
            confusion_NCC=self.confusion_NCC[rows],
            boundary_NC3=self.boundary_NC3[rows],
            predicted_NC=self.predicted_NC[rows],
            ignored_N=self.ignored_N[rows],
            missed_NL=None if self.missed_NL is None else self.missed_NL[rows],
            groups=names_at(self.groups, rows),
            subtypes=names_at(self.subtypes, rows),
            facts={name: tuple(values[row] for row in rows) for name, values in self.facts.items()},
        )

    def right(self, point: Any) -> Mapping[str, np.ndarray]:
        """Positions of the pictures whose foreground is found in part or whole, by IoU."""
        del point
        value_N = self.image_iou_N
        found = np.flatnonzero(np.nan_to_num(value_N) > 0)
        return {FOUND: found[np.argsort(-value_N[found], kind="stable")]}

    def worst(self, point: Any) -> Mapping[str, np.ndarray]:
        """Positions of the pictures with the lowest IoU and, if there is background, most errors.

        At most ten of each kind.

        Pictures without any foreground in truth and answer are in no list; of the second and third
        list those with no such pixel are left out.
        """
        del point
        value_N = self.image_iou_N
        known = np.flatnonzero(np.isfinite(value_N))
        found = {WORST: known[np.argsort(value_N[known], kind="stable")]}
        if self.background:
            pixels = foreground_confusion(self.confusion_NCC, self.background)
            for name, wrong_N in ((MISSED, pixels[:, 1, 0]), (FALSE, pixels[:, 0, 1])):
                order = np.argsort(-wrong_N, kind="stable")
                found[name] = order[wrong_N[order] > 0]
        return {name: rows[:_DRAWN] for name, rows in found.items()}

    @classmethod
    def of(
        cls,
        samples: Sequence[Sample],
        context: TaskContext,
        counts: Sequence[Counts],
    ) -> SegmentTally:
        """Counts of pictures next to what is known of their samples, in the same order."""
        classes = len(context.classes)
        names = sorted({name for sample in samples for name in sample.facts})

        def stacked(name: str, *shape: int) -> np.ndarray:
            arrays = [getattr(one, name) for one in counts]
            return np.stack(arrays) if arrays else np.zeros((0, *shape), dtype=np.int64)

        return cls(
            ids=tuple(sample.id for sample in samples),
            classes=context.classes,
            background=background_of(context),
            confusion_NCC=stacked("confusion_CC", classes, classes),
            boundary_NC3=stacked("boundary_C3", classes, 3),
            predicted_NC=stacked("predicted_C", classes),
            ignored_N=stacked("ignored"),
            groups=optional_names([sample.group or "" for sample in samples]),
            subtypes=optional_names([sample.subtype or "" for sample in samples]),
            facts={name: tuple(sample.facts.get(name, "") for sample in samples) for name in names},
            missed_NL=_missed(counts),
        )


def _missed(counts: Sequence[Counts]) -> np.ndarray | None:
    """(N, L) the counts of all pictures; None if one has none."""
    found = [one.missed_L for one in counts if one.missed_L is not None]
    return np.stack(found) if found and len(found) == len(counts) else None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Counts:
    """Counts of one picture; see `SegmentTally`."""

    confusion_CC: np.ndarray
    boundary_C3: np.ndarray
    predicted_C: np.ndarray
    ignored: np.ndarray
    missed_L: np.ndarray | None = None

    @classmethod
    def of(cls, answer_HW: np.ndarray, truth_HW: np.ndarray, classes: int) -> Counts:
        """Counts an answer against the truth, both (H, W) class numbers.

        Args:
            answer_HW: None of its numbers is negative or C or more.
            truth_HW: `IGNORED` for pixels that do not count.
            classes: C.
        """
        counted = truth_HW != IGNORED
        pairs = truth_HW[counted].astype(np.int64) * classes + answer_HW[counted]
        return cls(
            confusion_CC=np.bincount(pairs, minlength=classes**2).reshape(classes, classes),
            boundary_C3=boundary_counts(answer_HW, truth_HW, classes),
            predicted_C=np.bincount(answer_HW.reshape(-1), minlength=classes),
            ignored=np.asarray(counted.size - int(counted.sum()), dtype=np.int64),
        )


class SegmentTallier:
    """Adds up a split, batch by batch; each mask is decoded once for all models.

    Args:
        context: Of the run.
        models: How many models answer.
    """

    def __init__(self, context: TaskContext, models: int) -> None:
        self.context = context
        self._samples: list[Sample] = []
        self._counts: list[list[Counts]] = [[] for _ in range(models)]
        points = (*context.points, *(None,) * models)[:models]
        self._biases = [float(getattr(point, "bias", 0.0)) for point in points]
        # Biases are chosen from a split for which none was chosen before.
        front = len(context.classes) - len(background_of(context))
        self._choosing = not context.points and bool(background_of(context)) and front > 0

    def add(self, items: Sequence[Item], outputs: Sequence[Outputs]) -> None:
        """Takes one batch.

        Args:
            items: (B) with their samples.
            outputs: Merged outputs of each model.

        Raises:
            DataError: An item has no truth, or its mask cannot be used.
        """
        classes, background = len(self.context.classes), background_of(self.context)
        logits = [one[LOGIT].float().cpu() for one in outputs]
        for row, item in enumerate(items):
            if item.sample is None:
                raise DataError(
                    "there is no truth to judge an answer by",
                    whose=item.id,
                    fix="evaluate on samples with masks",
                    code="data/no-truth",
                )
            truth_HW = read_truth(item.sample, item.size, classes)
            self._samples.append(item.sample)
            frame = item.lies_in(self.context)
            for counts, logit_BChw, bias in zip(self._counts, logits, self._biases, strict=True):
                logit_Chw = lowered(logit_BChw[row], background, bias)
                made = Counts.of(class_map(logit_Chw, frame, item.size), truth_HW, classes)
                if self._choosing:
                    missed_L = missed_counts(logit_Chw, truth_HW, frame, item.size, background)
                    made = dataclasses.replace(made, missed_L=missed_L)
                counts.append(made)

    def finish(self) -> tuple[SegmentTally, ...]:
        """The tally of each model."""
        return tuple(
            SegmentTally.of(self._samples, self.context, counts) for counts in self._counts
        )


def check_tallies(tallies: Sequence[SegmentTally]) -> None:
    """Refuses tallies with impossible values.

    Raises:
        DataError: A count is negative, or tallies of one split differ in pictures or in truth.
    """
    for tally in tallies:
        counts = (tally.confusion_NCC, tally.boundary_NC3, tally.predicted_NC, tally.ignored_N)
        for row in range(len(tally)):
            if any((one[row] < 0).any() for one in counts):
                raise impossible(tally.ids[row], "a count of pixels is negative")
            inside = int(tally.confusion_NCC[row].sum() + tally.ignored_N[row])
            if inside != int(tally.predicted_NC[row].sum()):
                raise impossible(tally.ids[row], "the counts of pixels do not add up")
        first = tallies[0]
        same = tally.ids == first.ids and np.array_equal(
            tally.confusion_NCC.sum(2), first.confusion_NCC.sum(2)
        )
        if not same:
            raise impossible(tally.ids[0] if tally.ids else "", "models saw another truth")

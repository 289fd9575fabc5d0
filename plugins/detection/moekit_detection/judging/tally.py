"""What is known of the pictures of a split once one model has found objects in them.

Shapes: N pictures of a tally, I pictures that were matched, C classes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from moekit import DataError, Frame, Item, Outputs, Sample, TaskContext
from moekit.tasks.parts import impossible, names_at, optional_names
from moekit_detection.judging.matches import Matches, Pair
from moekit_detection.judging.metrics import counts
from moekit_detection.judging.points import thresholds_of
from moekit_detection.records import BOX, Objects, objects_of

MISSES, ALARMS = "missed", "false-alarms"
_DRAWN = 10
"""Pictures of each kind of mistake that are shown, at most."""
Decode = Callable[[Outputs, Frame, tuple[int, int], TaskContext], Objects]
"""Turns the outputs of one item, without their first dimension, into all that was found in it,
whatever the point; called with the item's frame, its size (H, W) and the context too."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class DetectTally:
    """Matches of pictures.

    Attributes:
        ids: (N) ids of the samples.
        classes: (C) names.
        rows_N: (N,) int64 which of the matched pictures each is; a resample repeats some.
        matches: Of I pictures, which `take` leaves as they are.
        excess_N: (N,) int64 how many objects a picture has beyond the queries of the head.
        groups: (N) names of groups, or None.
        subtypes: (N) names of strata that are reported by themselves, or None.
    """

    ids: tuple[str, ...]
    classes: tuple[str, ...]
    rows_N: np.ndarray
    matches: Matches
    excess_N: np.ndarray
    groups: tuple[str, ...] | None = None
    subtypes: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def strata_N(self) -> np.ndarray:
        """(N,) int64, all 0: pictures are drawn without strata."""
        return np.zeros(len(self.ids), dtype=np.int64)

    @property
    def weights_I(self) -> np.ndarray:
        """(I,) int64 how often each matched picture is there."""
        return np.bincount(self.rows_N, minlength=self.matches.images)

    def field(self, name: str) -> Any:
        """A field by its name, or None."""
        known = ("ids", "classes", "rows_N", "matches", "groups", "subtypes", "strata_N")
        return getattr(self, name) if name in known else None

    def take(self, rows: np.ndarray) -> DetectTally:
        """The tally of the pictures at these positions."""
        return dataclasses.replace(
            self,
            ids=tuple(self.ids[row] for row in rows),
            rows_N=self.rows_N[rows],
            excess_N=self.excess_N[rows],
            groups=names_at(self.groups, rows),
            subtypes=names_at(self.subtypes, rows),
        )

    def mistakes_N(self, point: Any) -> tuple[np.ndarray, np.ndarray]:
        """(N,) objects that are missed, and (N,) that are found wrongly, at the point."""
        thresholds_C = thresholds_of(point, len(self.classes))
        right_N, wrong_N, true_N = counts(self.rows_N, self.matches, thresholds_C)
        return true_N - right_N, wrong_N

    def right(self, point: Any) -> Mapping[str, np.ndarray]:
        """Positions of the pictures with a found object, by the share found, less false alarms."""
        right_N, wrong_N, true_N = counts(
            self.rows_N, self.matches, thresholds_of(point, len(self.classes))
        )
        rows = np.flatnonzero(right_N > 0)
        degree_N = right_N[rows] / (true_N[rows] + wrong_N[rows])
        return {"found": rows[np.argsort(-degree_N, kind="stable")]}

    def worst(self, point: Any) -> Mapping[str, np.ndarray]:
        """Positions of the pictures with most missed objects, and with most false alarms.

        At most ten of each kind; pictures without such a mistake are left out.
        """
        found = {}
        for name, wrong_N in zip((MISSES, ALARMS), self.mistakes_N(point), strict=True):
            order = np.argsort(-wrong_N, kind="stable")
            found[name] = order[wrong_N[order] > 0][:_DRAWN]
        return found

    @classmethod
    def of(
        cls,
        samples: Sequence[Sample],
        context: TaskContext,
        pairs: Sequence[Pair],
        excess: Sequence[int] = (),
    ) -> DetectTally:
        """Matches found objects with the truth, next to what is known of the samples.

        Args:
            samples: (N) in their order.
            context: Of the run.
            pairs: (N) what was found in each, and its truth.
            excess: (N) as `excess_N`; empty for none.
        """
        return cls(
            ids=tuple(sample.id for sample in samples),
            classes=context.classes,
            rows_N=np.arange(len(samples)),
            matches=Matches.of(pairs, len(context.classes)),
            excess_N=np.array(excess or [0] * len(samples), dtype=np.int64),
            groups=optional_names([sample.group or "" for sample in samples]),
            subtypes=optional_names([sample.subtype or "" for sample in samples]),
        )


class DetectTallier:
    """Adds up a split, batch by batch.

    Args:
        context: Of the run.
        models: How many models answer.
        decode: See `Decode`.
    """

    def __init__(self, context: TaskContext, models: int, *, decode: Decode) -> None:
        self.context = context
        self._decode = decode
        self._samples: list[Sample] = []
        self._excess: list[int] = []
        self._judged: list[list[Any]] = [[] for _ in range(models)]

    def add(self, items: Sequence[Item], outputs: Sequence[Outputs]) -> None:
        """Takes one batch.

        Args:
            items: (B) with their samples.
            outputs: Merged outputs of each model.

        Raises:
            DataError: An item has no truth, or one that its picture contradicts.
        """
        for row, item in enumerate(items):
            if item.sample is None:
                raise DataError(
                    "there is no truth to judge an answer by",
                    whose=item.id,
                    fix="evaluate on samples with objects",
                    code="data/no-truth",
                )
            true = self.truth(item, item.sample)
            self._samples.append(item.sample)
            queries = min(one[BOX].shape[1] for one in outputs)
            self._excess.append(max(0, len(true) - queries))
            frame = item.lies_in(self.context)
            for judged, one in zip(self._judged, outputs, strict=True):
                own = {name: value[row] for name, value in one.items()}
                found = self._decode(own, frame, item.size, self.context)
                judged.append(self.compared(found, true))

    def finish(self) -> tuple[DetectTally, ...]:
        """The tally of each model."""
        return tuple(
            self.tally_of(self._samples, self.context, judged, self._excess)
            for judged in self._judged
        )

    def truth(self, item: Item, sample: Sample) -> Objects:
        """The true objects of an item."""
        del item
        return objects_of(sample)

    def compared(self, found: Objects, true: Objects) -> Any:
        """What is kept of an item until the split is done."""
        return found, true

    tally_of: Callable[..., DetectTally] = staticmethod(DetectTally.of)
    """Makes a tally of what `compared` gave; arguments as of `DetectTally.of`."""


def check_tallies(tallies: Sequence[DetectTally]) -> None:
    """Refuses tallies with impossible values.

    Raises:
        DataError: A score is no number from 0 to 1, or tallies of one split differ in their
            pictures or in their truth.
    """
    first = tallies[0]
    for tally in tallies:
        matches = tally.matches
        wrong = ~((matches.score_D >= 0) & (matches.score_D <= 1))
        if wrong.any():
            image = int(matches.image_D[wrong][0])
            held = np.flatnonzero(tally.rows_N == image)
            raise impossible(
                tally.ids[held[0]] if len(held) else f"picture {image}",
                f"a score is {matches.score_D[wrong][0]}, which is not from 0 to 1",
            )
        same = tally.ids == first.ids and all(
            np.array_equal(getattr(matches, name), getattr(first.matches, name))
            for name in ("image_G", "class_G", "area_G", "crowd_G")
        )
        if not same:
            raise impossible("the tallies", "kit and baseline were judged on other pictures")

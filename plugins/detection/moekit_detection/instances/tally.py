"""What is known of the pictures of a split once one model has found instances in them.

Found objects are matched twice: by their masks, and by their boxes.

Shapes: N pictures of a tally, D found objects, G true ones.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from moekit import DataError, Item, Sample, TaskContext
from moekit.tasks.parts import impossible
from moekit_detection.instances.truth import instances_of
from moekit_detection.judging.matches import Matches
from moekit_detection.judging.tally import DetectTallier, DetectTally, check_tallies
from moekit_detection.masks.runs import overlaps
from moekit_detection.records import Objects


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class InstanceTally(DetectTally):
    """Matches of pictures, `matches` by masks.

    Attributes:
        box_matches: The same objects matched by their boxes.
    """

    box_matches: Matches

    def field(self, name: str) -> Any:
        """A field by its name, or None."""
        return self.box_matches if name == "box_matches" else super().field(name)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """A picture, so far as it is needed once its masks are compared.

    Attributes:
        found: What was found, without masks; areas are those of the boxes.
        area_D: (D,) pixels of the masks.
        true: The truth, without masks.
        share_DG: (D, G) the overlaps of the masks.
    """

    found: Objects
    area_D: np.ndarray
    true: Objects
    share_DG: np.ndarray

    @classmethod
    def of(cls, found: Objects, true: Objects) -> Judged:
        """Compares the masks of a picture."""
        assert found.masks is not None
        assert true.masks is not None
        return cls(
            found=dataclasses.replace(found, masks=None),
            area_D=found.masks.area_G.astype(np.float64),
            true=dataclasses.replace(true, masks=None),
            share_DG=overlaps(found.masks, true.masks, true.crowd_G),
        )


def tally_of(
    samples: Sequence[Sample],
    context: TaskContext,
    judged: Sequence[Judged],
    excess: Sequence[int] = (),
) -> InstanceTally:
    """Matches found objects with the truth.

    Args:
        samples: (N) in their order.
        context: Of the run.
        judged: (N) what was found in each.
        excess: As of `DetectTally.of`.
    """
    classes = len(context.classes)
    boxes = DetectTally.of(samples, context, [(one.found, one.true) for one in judged], excess)
    pairs = [(dataclasses.replace(one.found, area_G=one.area_D), one.true) for one in judged]
    held = {field.name: getattr(boxes, field.name) for field in dataclasses.fields(boxes)}
    return InstanceTally(
        **{
            **held,
            "matches": Matches.of(pairs, classes, [one.share_DG for one in judged]),
            "box_matches": boxes.matches,
        }
    )


class InstanceTallier(DetectTallier):
    """Adds up a split, batch by batch; of masks only their overlaps are kept.

    `decode` gives objects with masks.
    """

    def truth(self, item: Item, sample: Sample) -> Objects:
        """The true objects of an item with their masks.

        Raises:
            DataError: The masks are of another size than the picture.
        """
        true = instances_of(sample)
        assert true.masks is not None
        if len(true) and true.masks.size != tuple(item.size):
            (height, width), (rows, columns) = true.masks.size, item.size
            raise DataError(
                f"its masks have {width} x {height} pixels, the picture {columns} x {rows}",
                whose=item.id,
                fix="load the data again from the pictures that were annotated",
                code="data/mask-size",
            )
        return true

    def compared(self, found: Objects, true: Objects) -> Judged:
        """What is kept of an item: its objects, and the overlaps of their masks."""
        return Judged.of(found, true)

    tally_of = staticmethod(tally_of)


def check_instances(tallies: Sequence[InstanceTally]) -> None:
    """Refuses tallies with impossible values, as `check_tallies` does, by masks and by boxes.

    Raises:
        DataError: A score is no number from 0 to 1, tallies of one split differ in their pictures
            or in their truth, or masks and boxes are of other objects.
    """
    check_tallies(tallies)
    for tally in tallies:
        if not np.array_equal(tally.matches.score_D, tally.box_matches.score_D):
            raise impossible("the tallies", "masks and boxes are of other found objects")

"""The objects of a picture: what its annotators drew, or what a model found.

Shapes: G objects of a picture.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from moekit import DataError, Frame, Sample
from moekit_detection.masks.runs import Masks

LOGIT, BOX = "logit_BQC", "box_BQ4"
"""Outputs of a head: a logit of each class for each query (sigmoid, no class for the background);
the centre, width and height of its box (cx, cy, w, h) as shares of the input's sides, 0 to 1."""

OBJECTS = "objects"
"""The key of `Sample.truth` under which the objects of a picture stand."""
_LEAST_INSIDE = 0.25


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Objects:
    """Objects of one picture, in pixels of the upright picture.

    Attributes:
        box_G4: (G, 4) float64 x, y, width and height; x and y of the upper left corner, whose pixel
            begins at 0 (COCO's convention).
        label_G: (G,) int64 index into the classes.
        crowd_G: (G,) bool, whether it stands for many objects in one region, which are neither
            missed nor false alarms (COCO's `iscrowd`).
        area_G: (G,) float64 square pixels, by which small, medium and large are distinguished: the
            annotation's own (of a mask), or width times height.
        score_G: (G,) float64 in [0, 1] of found objects; None of the truth.
        masks: (G) their pixels; None if only boxes are asked for.
    """

    box_G4: np.ndarray
    label_G: np.ndarray
    crowd_G: np.ndarray
    area_G: np.ndarray
    score_G: np.ndarray | None = None
    masks: Masks | None = None

    def __len__(self) -> int:
        return len(self.label_G)

    @classmethod
    def of(
        cls,
        box_G4: Any,
        label_G: Any,
        *,
        score_G: Any = None,
        crowd_G: Any = None,
        area_G: Any = None,
        masks: Masks | None = None,
    ) -> Objects:
        """Objects from anything that numpy makes arrays of.

        Without `crowd_G` there are no crowds, without `area_G` areas are those of the boxes.
        """
        boxes = np.asarray(box_G4, dtype=np.float64).reshape(-1, 4)
        count = len(boxes)
        labels = np.asarray(label_G, dtype=np.int64).reshape(count)
        area = boxes[:, 2] * boxes[:, 3] if area_G is None else area_G
        return cls(
            box_G4=boxes,
            label_G=labels,
            crowd_G=np.asarray(
                np.zeros(count) if crowd_G is None else crowd_G, dtype=np.bool_
            ).reshape(count),
            area_G=np.asarray(area, dtype=np.float64).reshape(count),
            score_G=None
            if score_G is None
            else np.asarray(score_G, dtype=np.float64).reshape(count),
            masks=masks,
        )

    def take(self, rows: np.ndarray | Sequence[int]) -> Objects:
        """The objects at these positions, or if a mask is true."""
        return Objects(
            box_G4=self.box_G4[rows],
            label_G=self.label_G[rows],
            crowd_G=self.crowd_G[rows],
            area_G=self.area_G[rows],
            score_G=None if self.score_G is None else self.score_G[rows],
            masks=None if self.masks is None else self.masks.take(rows),
        )

    def as_truth(self) -> dict[str, Any]:
        """What `Sample.truth` holds of them: tuples and plain values, equal by content."""
        held: dict[str, Any] = {
            "box": tuple(tuple(box) for box in self.box_G4.tolist()),
            "label": tuple(self.label_G.tolist()),
            "crowd": tuple(self.crowd_G.tolist()),
            "area": tuple(self.area_G.tolist()),
        }
        if self.masks is not None:
            texts = (
                self.masks.text(place) if len(self.masks.runs(place)) else ""
                for place in range(len(self))
            )
            held |= {"mask": tuple(texts), "size": self.masks.size}
        return {OBJECTS: held}


def objects_of(sample: Sample) -> Objects:
    """The truth of a sample; without objects if its picture was looked through and holds none.

    Of a sample with a window these are still the objects of the whole picture, see `in_window`.

    Raises:
        DataError: Nobody has looked for objects in it.
    """
    truth: Mapping[str, Any] = sample.truth or {}
    held = truth.get(OBJECTS)
    if held is None:
        raise DataError(
            "there are no objects to learn from, or to judge an answer by",
            whose=sample.id,
            fix="load the data by coco=, yolo= or voc=, or give its picture an empty list",
            code="data/no-truth",
        )
    return Objects.of(held["box"], held["label"], crowd_G=held["crowd"], area_G=held["area"])


def in_window(objects: Objects, window: tuple[int, int, int, int] | None) -> Objects:
    """Objects of a picture as one of its windows shows them, in pixels of the window.

    Boxes are cut at the window's sides, and areas by the same share. An object of whose box less
    than a quarter is inside is left out; a crowd is kept if any of it is inside. Masks are cut too;
    an object of whose mask nothing is inside is left out.

    Args:
        objects: Of the whole picture.
        window: Top, left, height and width (`Sample.window`); None for all of it.
    """
    if window is None:
        return objects
    top, left, height, width = window
    corner = objects.box_G4[:, :2] - (left, top)
    low = np.clip(corner, 0, (width, height))
    high = np.clip(corner + objects.box_G4[:, 2:], 0, (width, height))
    sides = high - low
    whole = objects.box_G4[:, 2] * objects.box_G4[:, 3]
    share = sides.prod(1) / np.maximum(whole, 1e-9)
    cut = dataclasses.replace(
        objects,
        box_G4=np.concatenate([low, sides], 1),
        area_G=objects.area_G * share,
        masks=None if objects.masks is None else objects.masks.within(window),
    )
    seen_G = np.True_ if cut.masks is None else cut.masks.area_G > 0
    return cut.take(seen_G & (share > 0) & (objects.crowd_G | (share >= _LEAST_INSIDE)))


def as_shares(objects: Objects, size: tuple[int, int], frame: Frame) -> np.ndarray:
    """(G, 4) boxes as heads give them: centre, width and height as shares of the input's sides.

    Args:
        objects: In pixels of a picture.
        size: (H, W) of the picture.
        frame: How it lies in the input.
    """
    place = frame.box(size)
    scale = np.array([place.width / size[1], place.height / size[0]])
    sides = objects.box_G4[:, 2:] * scale
    centre = objects.box_G4[:, :2] * scale + (place.left, place.top) + sides / 2
    shares: np.ndarray = np.concatenate([centre, sides], 1) / np.tile(
        [frame.width, frame.height], 2
    )
    return shares


def from_shares(box_Q4: np.ndarray, size: tuple[int, int], frame: Frame) -> np.ndarray:
    """(Q, 4) boxes x, y, w, h in pixels of a picture, cut at its sides, of what heads give.

    The reverse of `as_shares` for boxes inside of the picture.

    Args:
        box_Q4: Centre, width and height as shares of the input's sides.
        size: (H, W) of the picture.
        frame: How it lies in the input.
    """
    place = frame.box(size)
    pixels = np.asarray(box_Q4, dtype=np.float64) * np.tile([frame.width, frame.height], 2)
    scale = np.array([size[1] / place.width, size[0] / place.height])
    low = (pixels[:, :2] - pixels[:, 2:] / 2 - (place.left, place.top)) * scale
    high = (pixels[:, :2] + pixels[:, 2:] / 2 - (place.left, place.top)) * scale
    limit = (size[1], size[0])
    low, high = np.clip(low, 0, limit), np.clip(high, 0, limit)
    boxes: np.ndarray = np.concatenate([low, np.maximum(high - low, 0)], 1)
    return boxes

"""How outputs become objects with pixels, and how large these are.

Shapes: B items, Q queries, G objects of an item, F channels, V views, H and W rows
and columns of the picture.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from moekit import Answering, Item, Outputs, TaskContext, UsageError
from moekit.tasks.segment import rings_around
from moekit_detection.answers import DetectAnswer, picked, unreadable
from moekit_detection.answers import derive as derive_scores
from moekit_detection.answers import merge as merge_boxes
from moekit_detection.instances.pixels import FEATURE, KERNEL, with_pixels
from moekit_detection.instances.tiles import MergedMasks
from moekit_detection.judging.points import LEVEL
from moekit_detection.masks.measure import length_and_width
from moekit_detection.masks.runs import Masks
from moekit_detection.records import BOX, LOGIT

CENTRE = "centre_BQ"
SCALE = "mm_per_pixel"
"""The kit's option: millimetres to a pixel of the pictures, which are all taken at that scale."""
_DIGITS = 2
_MM_DIGITS = 4


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class InstanceAnswer(DetectAnswer):
    """The objects that were found in one picture, with the pixels of those that are kept.

    Attributes:
        masks: Of the kept objects, in their order.
        mm: Millimetres to a pixel; None if nobody said.
    """

    masks: Masks
    mm: float | None = None

    @property
    def number_HW(self) -> np.ndarray:
        """(H, W) uint16 the number of the kept object that a pixel belongs to; 0 for none.

        They count from 1, the best first, which has the pixels that several claim.
        """
        number_HW = np.zeros(self.size, dtype=np.uint16)
        for place in reversed(range(len(self.masks))):
            (top, left), pixels = self.masks.crop(place)
            part = number_HW[top : top + pixels.shape[0], left : left + pixels.shape[1]]
            part[pixels] = place + 1
        return number_HW

    @functools.cached_property
    def sizes(self) -> list[dict[str, float]]:
        """Of each kept object `area`, `length` and `width`, in pixels, see `length_and_width`.

        If a scale is known also `area_mm2`, `length_mm` and `width_mm`.
        """
        made = []
        for place, area in enumerate(self.masks.area_G.tolist()):
            length, width = length_and_width(self.masks, place)
            sizes: dict[str, float] = {
                "area": area,
                "length": round(length, _DIGITS),
                "width": round(width, _DIGITS),
            }
            if self.mm is not None:
                sizes |= {
                    "area_mm2": round(area * self.mm**2, _MM_DIGITS),
                    "length_mm": round(length * self.mm, _MM_DIGITS),
                    "width_mm": round(width * self.mm, _MM_DIGITS),
                }
            made.append(sizes)
        return made

    def as_row(self) -> dict[str, Any]:
        """As of `DetectAnswer`; each object has its `sizes` too."""
        row = super().as_row()
        objects = zip(row["objects"], self.sizes, strict=True)
        return {**row, "objects": [{**one, **sizes} for one, sizes in objects]}

    def shapes(self) -> list[dict[str, Any]]:
        """The objects of the row, with their pixels as run lengths and as outlines.

        `segmentation` is COCO's compressed form. `outlines` are closed lines of corners (x, y)
        along the edges of pixels, those around holes the other way round.
        """
        made = []
        for place, one in enumerate(self.as_row()["objects"]):
            (top, left), pixels = self.masks.crop(place)
            rings = rings_around(pixels) if pixels.any() else []
            made.append(
                {
                    **one,
                    "segmentation": {
                        "size": list(self.masks.size),
                        "counts": self.masks.text(place),
                    },
                    "outlines": [[[left + x, top + y] for x, y in ring] for ring in rings],
                }
            )
        return made


def merge(views: Sequence[Outputs]) -> Outputs:
    """The queries of all views side by side, each with the features of its own view.

    Features of the views lie in channels one after the other, and the kernels of a view are zero
    for those of the others: the mask of a query is still one product.

    Args:
        views: Outputs of each view, with boxes and features that are turned back.
    """
    boxes = merge_boxes(views)
    if len(views) == 1:
        return {**boxes, FEATURE: views[0][FEATURE], KERNEL: views[0][KERNEL]}
    count = len(views)
    kernels = []
    for place, one in enumerate(views):
        kernel_BQF = one[KERNEL]
        nothing = torch.zeros_like(kernel_BQF)
        parts = [nothing] * place + [kernel_BQF] + [nothing] * (count - place - 1)
        kernels.append(torch.cat(parts, dim=2))
    return {
        **boxes,
        FEATURE: torch.cat([one[FEATURE] for one in views], dim=1),
        KERNEL: torch.cat(kernels, dim=1),
    }


def derive(outputs: Outputs) -> Outputs:
    """As of the task `detect`, and `centre_BQ`, by which the masks of graphs are compared.

    It is the chance that the middle of a query's box belongs to its object, from high to low.
    """
    at_BQ12 = 2 * outputs[BOX][:, :, None, :2] - 1
    seen_BFQ1 = torch.nn.functional.grid_sample(
        outputs[FEATURE], at_BQ12, padding_mode="border", align_corners=False
    )
    chance_BQ = (outputs[KERNEL] * seen_BFQ1[..., 0].transpose(1, 2)).sum(-1).sigmoid()
    sorted_BQ = chance_BQ.topk(chance_BQ.shape[1], dim=1).values
    return {**derive_scores(outputs), CENTRE: sorted_BQ}


def answers(
    outputs: Outputs, items: Sequence[Item], point: Any, context: TaskContext
) -> Sequence[InstanceAnswer]:
    """The answer of each item; pixels are made of the objects that are kept only.

    Args:
        outputs: Merged outputs.
        items: (B).
        point: As of `moekit_detection.answers.answers`.
        context: Of the run.

    Raises:
        UsageError: The kit's option `mm_per_pixel` is no positive number.
    """
    mm = scale_of(context.options)
    found = []
    for number, item in enumerate(items):
        row = {name: outputs[name][number].cpu() for name in (LOGIT, BOX, FEATURE, KERNEL)}
        frame = item.lies_in(context)
        objects, query_G = picked(row, frame, item.size, context)
        assert objects.score_G is not None
        kept_G = objects.score_G >= 0.5 if point is None else point.kept(objects)
        query_G = query_G[torch.from_numpy(kept_G)]
        kept = with_pixels(objects.take(kept_G), query_G, row, frame, item.size)
        assert kept.masks is not None
        found.append(
            InstanceAnswer(
                objects=objects,
                kept_G=kept_G,
                classes=context.classes,
                size=item.size,
                masks=kept.masks,
                mm=mm,
            )
        )
    return found


def scale_of(options: Mapping[str, Any]) -> float | None:
    """Millimetres to a pixel by the kit's options; None if they do not say.

    Raises:
        UsageError: It is no positive number.
    """
    given = options.get(SCALE)
    if given is None:
        return None
    plain = isinstance(given, int | float) and not isinstance(given, bool)
    if not plain or not math.isfinite(given) or given <= 0:
        raise UsageError(
            f"it is {given!r}, which is no positive number",
            whose=f"the kit's option {SCALE!r}",
            fix="write the millimetres that a pixel of the pictures has, or leave it out",
            code="usage/bad-scale",
        )
    return float(given)


INSTANCE_ANSWERING = Answering(
    merge=merge,
    answers=answers,
    unreadable=unreadable,
    derive=derive,
    whole=MergedMasks,
    level=LEVEL,
)

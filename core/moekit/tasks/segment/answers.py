"""How logits become a class for each pixel of a picture.

Shapes: B items, C classes, h and w rows and columns of logits, H and W those of a picture.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from moekit.contract.answers import Item, TaskContext
from moekit.contract.outputs import Outputs
from moekit.contract.tasks import Answering
from moekit.tasks.segment.classes import background_of, foreground_share
from moekit.tasks.segment.enlarge import class_map, lowered
from moekit.tasks.segment.head import LOGIT
from moekit.tasks.segment.outlines import (
    ClassRegion,
    Ring,
    count_values,
    find_regions,
    rings_around,
)
from moekit.tasks.segment.rle import RunLengths, encode
from moekit.tasks.segment.tiles import Mosaic

UNREADABLE = "unreadable"
_DIGITS = 6


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SegmentAnswer:
    """The class of each pixel of one picture.

    Attributes:
        class_HW: (H, W) uint8 or uint16 class numbers.
        classes: (C) names.
        background: Numbers of the classes that are background.
    """

    class_HW: np.ndarray
    classes: tuple[str, ...]
    background: tuple[int, ...]

    @functools.cached_property
    def pixels_C(self) -> np.ndarray:
        """(C,) int64 pixels of each class."""
        return count_values(self.class_HW, len(self.classes))

    @property
    def shares(self) -> dict[str, float]:
        """The share of the picture that each class has, in [0, 1], by name."""
        share_C = self.pixels_C / self.class_HW.size
        return {
            name: round(float(share), _DIGITS)
            for name, share in zip(self.classes, share_C, strict=True)
        }

    @property
    def verdict(self) -> str:
        """The foreground class with the most pixels; the commonest class if there is none."""
        front_C = self.pixels_C.copy()
        front_C[list(self.background)] = 0
        chosen = front_C if front_C.any() else self.pixels_C
        return self.classes[int(chosen.argmax())]

    @property
    def monitor(self) -> float:
        """The share of foreground in [0, 1]; 1 if no class is background."""
        return float(foreground_share(self.pixels_C, self.background))

    @functools.cached_property
    def regions(self) -> list[ClassRegion]:
        """The connected regions of foreground classes, the largest first, at most 50."""
        return find_regions(self.class_HW, self.classes, self.background)

    def polygons(self, number: int) -> list[Ring]:
        """The outlines of a class; see `rings_around`."""
        return rings_around(self.class_HW == number)

    def rle(self, number: int, *, compressed: bool = True) -> RunLengths:
        """The pixels of a class as COCO writes them."""
        return encode(self.class_HW == number, compressed=compressed)

    def as_row(self) -> dict[str, Any]:
        """`verdict`, `foreground` (the monitor), `shares` and `regions`."""
        return {
            "verdict": self.verdict,
            "foreground": round(self.monitor, _DIGITS),
            "shares": self.shares,
            "regions": list(self.regions),
        }


def merge(views: Sequence[Outputs]) -> Outputs:
    """The mean of the logits of views, which the engine has turned back.

    Args:
        views: `logit_BChw` of each view of the same items.
    """
    logits = [one[LOGIT].float() for one in views]
    return {LOGIT: logits[0] if len(logits) == 1 else torch.stack(logits).mean(0)}


def answers(
    outputs: Outputs, items: Sequence[Item], point: Any, context: TaskContext
) -> Sequence[SegmentAnswer]:
    """The answer of each item at the size of its picture.

    Args:
        outputs: Merged `logit_BChw`.
        items: (B).
        point: Says by how much the logits of background are lowered; None for not at all.
        context: Of the run.
    """
    bias = float(getattr(point, "bias", 0.0))
    background = background_of(context)
    return [
        SegmentAnswer(
            class_HW=class_map(
                lowered(logit_Chw, background, bias), item.lies_in(context), item.size
            ),
            classes=context.classes,
            background=background,
        )
        for item, logit_Chw in zip(items, outputs[LOGIT].float().cpu(), strict=True)
    ]


def unreadable(point: Any) -> dict[str, Any]:
    """The row of an item that could not be read."""
    del point
    return {"verdict": UNREADABLE, "foreground": None, "shares": {}, "regions": []}


ANSWERING = Answering(merge=merge, answers=answers, unreadable=unreadable, whole=Mosaic)

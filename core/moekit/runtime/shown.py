"""Answers and routing as people look at them.

Shapes: N patches of a picture, E experts of a router.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

from PIL import Image

from moekit.contract.answers import Answer, Item
from moekit.contract.experts import SpecialistSlot
from moekit.data.geometry import Box
from moekit.data.pictures import LONG_SIDE, reduced
from moekit.errors import UsageError
from moekit.moe.owned import owned
from moekit.moe.specialists import Grid
from moekit.moe.stats import RoutingTrace
from moekit.runtime.answerer import Answerer
from moekit.runtime.parts import whole_frame
from moekit.runtime.together import Trained


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shown:
    """An answer as its task shows it.

    Attributes:
        caption: The answer in a line.
        overlay: RGB, reduced, with the answer drawn on it; None if the task draws none.
    """

    caption: str
    overlay: Image.Image | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Draft:
    """An answer in the form of a correction, which confirms it.

    Attributes:
        size: (H, W) of the picture, upright.
        label: As of `Correcting.draft`; None if the answer says nothing that could be confirmed.
    """

    size: tuple[int, int]
    label: Mapping[str, Any] | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class RoutedPicture:
    """Which experts compute which part of a picture.

    Attributes:
        trace: What each router decided, for this picture by itself. The tokens of the patches are
            the last of each row, row by row.
        grid: Rows and columns of the patches.
        box: Where the picture lies in the input, in pixels.
        size: (H, W) of the input, in pixels.
        slots: The kit's specialists.
        depth: Blocks of the backbone.
    """

    trace: RoutingTrace
    grid: Grid
    box: Box
    size: tuple[int, int]
    slots: tuple[SpecialistSlot, ...]
    depth: int


def shown(answerer: Answerer, picture: Image.Image, answer: Answer, *, kit: str) -> Shown:
    """See `Runtime.shown`."""
    item = _item(answerer, picture)
    show, context = answerer.task.show, answerer.context
    small = reduced(picture, LONG_SIDE)
    draw = functools.partial(show.draw, small, answer, item, context)
    caption = functools.partial(show.caption, answer, item, context)
    return Shown(
        caption=owned(f"kit {kit}", caption), overlay=owned(f"kit {kit}", draw, part="drawing")
    )


def draft_of(answerer: Answerer, picture: Image.Image, answer: Answer, *, kit: str) -> Draft:
    """See `Runtime.draft`."""
    item, how = _item(answerer, picture), answerer.task.correcting
    if how is None:
        return Draft(size=item.size, label=None)
    make = functools.partial(how.draft, answer, item, answerer.context)
    return Draft(size=item.size, label=owned(f"kit {kit}", make, part="draft"))


def _item(answerer: Answerer, picture: Image.Image) -> Item:
    size = (picture.height, picture.width)
    is_cut = answerer.preprocess.cuts(size)
    return Item(id="", size=size, frame=whole_frame(size) if is_cut else None)


def routed_picture(trained: Trained, picture: Image.Image) -> RoutedPicture:
    """See `Runtime.routing`."""
    preprocess, predictor = trained.answerer.preprocess, trained.predictor
    size = (picture.height, picture.width)
    if preprocess.cuts(size):
        raise UsageError(
            "the picture is cut into windows, each of which is routed by itself",
            whose="the routing",
            fix="ask with a picture that fits into one window",
            code="usage/cut-picture",
        )
    trace = predictor.routed(preprocess.tensor(picture)[None])
    frame, patch = preprocess.frame, predictor.backbone.patch
    return RoutedPicture(
        trace=trace,
        grid=Grid(frame.height // patch, frame.width // patch),
        box=frame.box(size),
        size=(frame.height, frame.width),
        slots=predictor.kit.slots,
        depth=len(predictor.backbone.blocks),
    )

"""How found instances are shown, and the files that hold those of all pictures.

Shapes: h and w rows and columns of an object's part of the reduced picture.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from moekit import Answer, Item, ReportContext, ReportSection, TaskContext
from moekit.files import read_json, to_json
from moekit_detection.instances.answers import InstanceAnswer
from moekit_detection.instances.metrics import BOX, INSTANCE_METRICS, MASK
from moekit_detection.instances.truth import instances_of
from moekit_detection.masks.runs import Masks, overlaps
from moekit_detection.overlay import Colour, Verdicts, counts_in_words, drawn, verdicts_of
from moekit_detection.sections import NAMES, sections
from moekit_detection.showing import COLUMNS, SHOW, write_objects

SHAPES, FOUND = "masks", "instances.json"
_SIZES = ("area", "length", "width", "area_mm2", "length_mm", "width_mm")
_COLUMNS = ("area", "mask_length", "mask_width", "area_mm2", "length_mm", "width_mm")
_OPACITY = 0.35
_BY = {MASK: "mask", BOX: "box"}


def draw(
    picture: Image.Image, answer: Answer, item: Item | None, context: TaskContext
) -> Image.Image | None:
    """The reported objects over the reduced picture, with a legend below, as of `detect`.

    An object is tinted and has an outline in the colour of its class in place of a box.

    Returns:
        RGB; None for an answer of another task.
    """
    del context
    if not isinstance(answer, InstanceAnswer):
        return None
    known = None if item is None else _known(answer, item)
    return drawn(picture, answer, known, functools.partial(_tint, answer.masks))


def caption(answer: Answer, item: Item, context: TaskContext) -> str:
    """As of `detect`, by the overlap of masks."""
    del context
    if not isinstance(answer, InstanceAnswer):
        return answer.verdict
    return counts_in_words(answer, _known(answer, item))


def _known(answer: InstanceAnswer, item: Item) -> Verdicts | None:
    if item.sample is None:
        return None
    true = instances_of(item.sample)
    assert true.masks is not None
    return verdicts_of(answer.kept, true, overlaps(answer.masks, true.masks, true.crowd_G))


def _tint(masks: Masks, small: Image.Image, place: int, colour: Colour) -> None:
    """Draws a mask into the reduced picture."""
    (top, left), pixels = masks.crop(place)
    if not pixels.any():
        return
    down, across = small.height / masks.size[0], small.width / masks.size[1]
    corner = round(left * across), round(top * down)
    size = max(1, round(pixels.shape[1] * across)), max(1, round(pixels.shape[0] * down))
    part = Image.fromarray(pixels).convert("L").resize(size, Image.Resampling.BILINEAR)
    inside_hw = np.asarray(part) >= 128
    padded = np.pad(inside_hw, 1)
    core_hw = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    share_hw = np.where(inside_hw & ~core_hw, 1.0, _OPACITY) * inside_hw
    small.paste(colour, corner, Image.fromarray((255 * share_hw).astype(np.uint8)))


def files(answer: Answer) -> Mapping[str, tuple[str, bytes]]:
    """`masks`: JSON with the reported objects, their run lengths and outlines."""
    if not isinstance(answer, InstanceAnswer):
        return {}
    return {SHAPES: (".json", to_json(answer.shapes()).encode())}


def gather(out: Path, rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Writes all reported objects as one file in COCO's format and as a table.

    `OUT/instances.json` is as `detections.json` of the task `detect`, with `segmentation` as run
    lengths and the areas of masks; `evaluate --from` reads it. `OUT/objects.csv` has a line for
    each object, with area, length and width.

    Returns:
        The names of the files and the number of objects; nothing if no picture was read.

    Raises:
        StorageError: A file cannot be written.
    """

    def objects(row: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        stored = read_json(out / str(row[SHAPES])) if row.get(SHAPES) else []
        for one in stored:
            # The table has the box's width already.
            sizes = zip(_COLUMNS, _SIZES, strict=True)
            yield {**one, **{column: one[key] for column, key in sizes if key in one}}

    return write_objects(
        out, rows, name=FOUND, objects=objects, keys=("segmentation",), columns=_COLUMNS
    )


def instance_sections(context: ReportContext) -> Sequence[ReportSection]:
    """The sections of the task `detect`, all by the overlap of masks."""
    made = list(sections(context))
    if made:
        first = made[0]
        note = "Everything of this task is by the overlap of masks if it does not name boxes."
        made[0] = dataclasses.replace(first, notes=(*first.notes, note))
    return made


def _names() -> dict[str, str]:
    named = {}
    for metric in INSTANCE_METRICS:
        prefix = MASK if metric.name.startswith(MASK) else BOX
        named[metric.name] = f"{_BY[prefix]} {NAMES[metric.name.removeprefix(prefix)]}"
    return named


INSTANCE_SHOW = dataclasses.replace(
    SHOW,
    columns=(*COLUMNS[:-2], SHAPES, *COLUMNS[-2:]),
    draw=draw,
    sections=instance_sections,
    names=_names(),
    files=files,
    caption=caption,
    gather=gather,
)

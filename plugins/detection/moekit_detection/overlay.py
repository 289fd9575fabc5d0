"""Found objects drawn over their picture, and if the truth is known what is wrong with them.

Shapes: G objects of a picture.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from moekit import Answer, Item, TaskContext
from moekit.tasks.parts import FONT_SIZE, short_name, with_legend
from moekit.tasks.segment import palette
from moekit_detection.answers import DetectAnswer
from moekit_detection.judging.match import taken_by_class
from moekit_detection.records import Objects, objects_of

_LONG_SIDE = 640
_MOST_NAMES = 24
_WRONG, _MISSED, _PAPER, _INK = (213, 0, 0), (255, 214, 0), (255, 255, 255), (30, 30, 30)
_DASH = 5
_NAMED = 4
Colour = tuple[int, int, int]
Paint = Callable[[Image.Image, int, Colour], None]
"""Draws an object, by its position, into the reduced picture."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Verdicts:
    """What is right of a picture's answer, at IoU 0.5.

    Attributes:
        wrong_G: (G,) which of the kept objects are false alarms.
        missed: The true objects that no kept one found, crowds left out.
    """

    wrong_G: np.ndarray
    missed: Objects


def verdicts_of(kept: Objects, true: Objects, iou: np.ndarray | None = None) -> Verdicts:
    """Matches the objects that are reported with the truth.

    Args:
        kept: The reported objects.
        true: The truth.
        iou: Their overlaps; those of the boxes if not given.
    """
    taken_G = taken_by_class(kept, true, iou)
    found_G = np.zeros(len(true), dtype=np.bool_)
    found_G[taken_G[taken_G >= 0]] = True
    return Verdicts(wrong_G=taken_G < 0, missed=true.take(~found_G & ~true.crowd_G))


def draw(
    picture: Image.Image, answer: Answer, item: Item | None, context: TaskContext
) -> Image.Image | None:
    """The reported objects over the reduced picture, with a legend below.

    A box has the colour of its class, the same in every picture, and its score. If the truth is
    known, the label of a false alarm is red, and missed objects are dashed in yellow.

    Returns:
        RGB; None for an answer of another task.
    """
    del context
    if not isinstance(answer, DetectAnswer):
        return None
    sample = None if item is None else item.sample
    known = None if sample is None else verdicts_of(answer.kept, objects_of(sample))
    return drawn(picture, answer, known)


def drawn(
    picture: Image.Image,
    answer: DetectAnswer,
    known: Verdicts | None,
    paint: Paint | None = None,
) -> Image.Image:
    """What `draw` gives.

    Args:
        picture: Of any size.
        answer: The objects.
        known: What is right of them; None if nobody knows.
        paint: Draws an object; its box is drawn if not given.
    """
    small = picture.convert("RGB")
    small.thumbnail((_LONG_SIDE, _LONG_SIDE))
    scale = np.tile([small.width / answer.size[1], small.height / answer.size[0]], 2)
    kept = answer.kept
    pen, font = ImageDraw.Draw(small), ImageFont.load_default(size=FONT_SIZE)
    colours = [_colour(row) for row in palette(len(answer.classes) + 1)[1:].tolist()]
    if known is not None:
        for box in known.missed.box_G4 * scale:
            _dashed(pen, box)
    assert kept.score_G is not None
    for place in reversed(range(len(kept))):  # the best on top
        label = int(kept.label_G[place])
        wrong = known is not None and bool(known.wrong_G[place])
        if paint is None:
            _boxed(pen, kept.box_G4[place] * scale, colours[label], width=2)
        else:
            paint(small, place, colours[label])
        text = f"{kept.score_G[place]:.2f}"
        _labelled(pen, kept.box_G4[place] * scale, text, _WRONG if wrong else colours[label], font)
    return with_legend(small, _legend(answer, colours, known))


def caption(answer: Answer, item: Item, context: TaskContext) -> str:
    """The classes of the reported objects with their numbers, and what is wrong if it is known."""
    del context
    if not isinstance(answer, DetectAnswer):
        return answer.verdict
    known = None if item.sample is None else verdicts_of(answer.kept, objects_of(item.sample))
    return counts_in_words(answer, known)


def counts_in_words(answer: DetectAnswer, known: Verdicts | None) -> str:
    """What `caption` gives."""
    counts = sorted(answer.counts.items(), key=lambda entry: -entry[1])
    found = ", ".join(f"{count} {name}" for name, count in counts[:_NAMED]) or answer.verdict
    if known is None:
        return found
    return f"{found}; {len(known.missed)} missed, {int(known.wrong_G.sum())} false alarms"


def _colour(row: list[int]) -> Colour:
    return row[0], row[1], row[2]


def _boxed(pen: ImageDraw.ImageDraw, box: np.ndarray, colour: Colour, width: int) -> None:
    left, top, across, down = box.tolist()
    pen.rectangle((left, top, left + across, top + down), outline=colour, width=width)


def _labelled(
    pen: ImageDraw.ImageDraw,
    box: np.ndarray,
    text: str,
    colour: Colour,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    left, top = max(0.0, float(box[0])), float(box[1])
    across, down = font.getbbox(text)[2] + 3, FONT_SIZE + 3
    upper = top - down if top >= down else top
    pen.rectangle((left, upper, left + across, upper + down), fill=colour)
    light = sum(colour) > 380
    pen.text((left + 2, upper + 1), text, fill=_INK if light else _PAPER, font=font)


def _dashed(pen: ImageDraw.ImageDraw, box: np.ndarray) -> None:
    left, top, across, down = box.tolist()
    right, bottom = left + across, top + down
    for start in np.arange(left, right, 2 * _DASH).tolist():
        end = min(start + _DASH, right)
        pen.line((start, top, end, top), fill=_MISSED, width=2)
        pen.line((start, bottom, end, bottom), fill=_MISSED, width=2)
    for start in np.arange(top, bottom, 2 * _DASH).tolist():
        end = min(start + _DASH, bottom)
        pen.line((left, start, left, end), fill=_MISSED, width=2)
        pen.line((right, start, right, end), fill=_MISSED, width=2)


def _legend(
    answer: DetectAnswer, colours: Sequence[Colour], known: Verdicts | None
) -> list[tuple[str, Colour | None]]:
    counts = sorted(answer.counts.items(), key=lambda entry: -entry[1])[:_MOST_NAMES]
    entries: list[tuple[str, Colour | None]] = [
        (f"{short_name(name)} {count}", colours[answer.classes.index(name)])
        for name, count in counts
    ]
    if known is not None:
        entries.append((f"missed {len(known.missed)}", _MISSED))
        entries.append((f"false alarms {int(known.wrong_G.sum())}", _WRONG))
    return entries or [(answer.verdict, _PAPER)]

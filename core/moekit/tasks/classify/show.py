"""How classes are shown on a picture: a strip below it with the most probable ones.

Shapes: H and W rows and columns of a picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from moekit.contract.answers import Answer, Item, TaskContext
from moekit.tasks.classify.answers import ClassAnswer

if TYPE_CHECKING:
    from moekit.data.samples import Sample

COLUMNS = (
    "verdict",
    "probability",
    "second",
    "second_probability",
    "top",
    "unlike",
    "overlay",
    "error",
)
NAMES = {
    "balanced_accuracy": "balanced accuracy",
    "top1": "top-1",
    "top5": "top-5",
    "macro_auroc": "macro AUROC",
    "macro_f1": "macro F1",
    "ece_top": "calibration error",
    "mean_average_precision": "mAP",
    "label_macro_f1": "macro F1 of labels",
    "unseen_auroc": "AUROC of unseen items",
}
"""How reports write the metrics."""

_LINES = 3
_LINE, _MARGIN = 18, 6
_NARROWEST = 200
_PAPER, _INK, _BAR, _RIGHT = (255, 255, 255), (30, 30, 30), (190, 214, 240), (180, 226, 190)


def draw_strip(
    picture: Image.Image, answer: Answer, item: Item | None, context: TaskContext
) -> Image.Image | None:
    """The picture with its verdict and most probable classes below it.

    A bar is as long as its probability; it is green if the truth is known and that class is right.

    Args:
        picture: RGB, (H, W).
        answer: Of the task.
        item: With the truth, if it is known.
        context: Holds the names of the classes.

    Returns:
        RGB with the picture unchanged at its top; None if the answer holds no class.
    """
    if not isinstance(answer, ClassAnswer) or not answer.top:
        return None
    sample = None if item is None else item.sample
    truth = () if sample is None else _names(sample, context)
    lines = [(answer.verdict, None), *((name, share) for name, share in answer.top[:_LINES])]
    if sample is not None:
        lines.append((f"truth: {', '.join(truth) or 'none of these'}", None))
    width = max(picture.width, _NARROWEST)
    height = picture.height + 2 * _MARGIN + _LINE * len(lines)
    drawn = Image.new("RGB", (width, height), _PAPER)
    drawn.paste(picture, ((width - picture.width) // 2, 0))
    canvas, font = ImageDraw.Draw(drawn), ImageFont.load_default(size=12)
    for place, (text, share) in enumerate(lines):
        top = picture.height + _MARGIN + place * _LINE
        room = width - 2 * _MARGIN
        if share is not None:
            colour = _RIGHT if text in truth else _BAR
            end = _MARGIN + round(share * room)
            canvas.rectangle((_MARGIN, top, end, top + _LINE - 4), fill=colour)
            number = f"{share:.1%}"
            left = width - _MARGIN - canvas.textlength(number, font=font)
            canvas.text((left, top), number, fill=_INK, font=font)
            room -= round(canvas.textlength(number, font=font)) + _MARGIN
        canvas.text((_MARGIN + 2, top), _fitted(canvas, text, font, room), fill=_INK, font=font)
    return drawn


def caption(answer: Answer, item: Item, context: TaskContext) -> str:
    """The verdict with its probability and, if it is known, the truth."""
    words = answer.verdict
    if answer.monitor is not None:
        words = f"{words} ({answer.monitor:.0%})"
    if item.sample is None:
        return words
    return f"{words}, truth: {', '.join(_names(item.sample, context)) or 'none of these'}"


def _names(sample: Sample, context: TaskContext) -> tuple[str, ...]:
    return tuple(context.classes[label] for label in sample.all_labels)


def _fitted(
    canvas: ImageDraw.ImageDraw,
    text: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    room: int,
) -> str:
    """The text on one line, cut to the room."""
    text = " ".join(text.split())
    if canvas.textlength(text, font=font) <= room:
        return text
    while text and canvas.textlength(f"{text}...", font=font) > room:
        text = text[:-1]
    return f"{text}..."

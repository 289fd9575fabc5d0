"""A picture with a legend below it: squares of colours, each with its words."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
FONT_SIZE = 11
"""Of the words, in pixels."""
_ROW, _SQUARE, _GAP = 16, 10, 4
_LETTERS = 24
_PAPER, _INK, _EDGE = (255, 255, 255), (30, 30, 30), (90, 90, 90)


def with_legend(image: Image.Image, entries: Sequence[tuple[str, Colour | None]]) -> Image.Image:
    """The picture, and below it the entries in rows as wide as the picture.

    Args:
        image: RGB.
        entries: Words, and the colour of the square before them; None for an empty one.

    Returns:
        A new RGB picture.
    """
    font = ImageFont.load_default(size=FONT_SIZE)
    places, x, y = [], 0, 0
    for text, _ in entries:
        length = round(font.getlength(text)) + _SQUARE + 3 * _GAP
        if x and x + length > image.width:
            x, y = 0, y + _ROW
        places.append((x, y))
        x += length
    page = Image.new("RGB", (image.width, image.height + y + _ROW + _GAP), _PAPER)
    page.paste(image)
    pen = ImageDraw.Draw(page)
    for (text, colour), (left, top) in zip(entries, places, strict=True):
        upper, inner = image.height + top + _GAP, left + _GAP
        box = (inner, upper + 2, inner + _SQUARE, upper + 2 + _SQUARE)
        pen.rectangle(box, fill=colour, outline=_EDGE)
        pen.text((inner + _SQUARE + _GAP, upper), text, fill=_INK, font=font)
    return page


def short_name(name: str) -> str:
    """A name of a class for a legend: printable, and cut if it is long."""
    plain = "".join(letter if letter.isprintable() else "?" for letter in name)
    return plain if len(plain) <= _LETTERS else f"{plain[: _LETTERS - 1]}…"

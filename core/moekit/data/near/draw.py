"""Two near-duplicates side by side, as people look at them."""

from __future__ import annotations

from PIL import Image

from moekit.data.near.find import Pair

SIDE, _GAP = 240, 8


def draw_pair(pair: Pair) -> Image.Image:
    """(SIDE, 2 * SIDE + gap) RGB, the first on the left, on white.

    Raises:
        ImageError: One cannot be read.
        StorageError: A reduced one cannot.
    """
    drawn = Image.new("RGB", (2 * SIDE + _GAP, SIDE), "white")
    for left, make in zip((0, SIDE + _GAP), pair.pictures, strict=True):
        picture = make().convert("RGB")
        share = SIDE / max(picture.size)
        size = tuple(max(1, round(length * share)) for length in picture.size)
        picture = picture.resize((size[0], size[1]), Image.Resampling.BICUBIC)
        drawn.paste(picture, (left + (SIDE - size[0]) // 2, (SIDE - size[1]) // 2))
    return drawn

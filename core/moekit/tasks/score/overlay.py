"""Heatmap overlays: the evidence of each patch, drawn over the image.

Shapes: h and w rows and columns of the patch grid.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from moekit.data.pictures import LONG_SIDE

_STRONGEST = 0.65
_SEEN = 0.45
"""The level from which colour is seen well."""
# Evidence 0, 1/4, 1/2, 3/4, 1: blue over green to red, of rising lightness until the end.
_COLOURS = np.array(
    [[38, 40, 120], [30, 110, 160], [70, 170, 90], [250, 190, 40], [225, 50, 35]], dtype=np.float32
)


def _colour_table() -> np.ndarray:
    """(256, 4) float32: premultiplied colour and opacity of each level of evidence."""
    level = np.linspace(0, 1, 256, dtype=np.float32)
    place = np.linspace(0, 1, len(_COLOURS))
    colour = np.stack([np.interp(level, place, _COLOURS[:, channel]) for channel in range(3)], 1)
    opacity = (_STRONGEST * level)[:, None]
    return np.concatenate([colour * opacity, opacity], axis=1).astype(np.float32)


_TABLE = _colour_table()


def draw_overlay(image: Image.Image, evidence: np.ndarray, *, least: float = 0.0) -> Image.Image:
    """Draws evidence over an image; weak evidence is transparent.

    Args:
        image: RGB of any size; the result is at most `LONG_SIDE` pixels long.
        evidence: (h, w) float in [0, 1], stretched over the whole image.
        least: Evidence below this is nothing that was found and has no colour; from it on colours
            are spread up to 1 and begin where they can be seen. 0 fades in from nothing.

    Returns:
        RGB.
    """
    small = image.copy()
    small.thumbnail((LONG_SIDE, LONG_SIDE))
    level = np.clip(evidence, 0, 1)
    if least > 0:
        above = _SEEN + (1 - _SEEN) * (level - least) / max(1 - least, 1e-6)
        level = np.where(level < least, 0.0, np.clip(above, 0, 1))
    levels = Image.fromarray((level * 255).astype(np.uint8))
    smooth = np.asarray(levels.resize(small.size, Image.Resampling.BICUBIC))
    drawn = _TABLE[smooth]
    pixels = np.asarray(small, dtype=np.float32) * (1 - drawn[..., 3:]) + drawn[..., :3]
    return Image.fromarray(pixels.astype(np.uint8))

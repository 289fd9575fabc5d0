"""A part of a slice, enlarged: pixels of one size in mm, a scale bar, and the window in words.

Shapes: H rows, W columns of a slice; P = `PIXELS` rows and columns of a picture.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from moekit.files import atomic_path
from moekit_medical.findings.record import DISCLAIMER
from moekit_medical.hounsfield import WINDOW_WORDS, slice_picture

PIXELS = 320
LEAST_MM = 60.0
"""Side of the part of a slice that is shown, at least."""
ROOM = 2.5
"""The side of what is shown, as a factor of what it is shown for, if that is large."""
BAR_MM = 10
"""Length of the scale bar."""
_STRIP = 18
_PLAIN, _BRIGHT = (0, 0, 0), (230, 230, 230)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Field:
    """A square part of a slice.

    Attributes:
        row: Of its middle, in pixels of the slice, fractional.
        column: Likewise.
        side_mm: Its side.
        spacing_mm: Distance of rows and of columns of the slice.
    """

    row: float
    column: float
    side_mm: float
    spacing_mm: tuple[float, float]

    @classmethod
    def around(
        cls, row: float, column: float, spacing_mm: tuple[float, float], *, size_mm: float
    ) -> Field:
        """The part that is shown around a thing of `size_mm`."""
        side_mm = max(LEAST_MM, ROOM * size_mm)
        return cls(row=row, column=column, side_mm=side_mm, spacing_mm=spacing_mm)

    @property
    def pixel_mm(self) -> float:
        """Side of a pixel of the picture."""
        return self.side_mm / PIXELS

    def picture(self, hu_HW: np.ndarray) -> Image.Image:
        """(P, P) RGB of a slice in `WINDOW_HU`; what lies beyond it is black."""
        whole = Image.fromarray(slice_picture(hu_HW))
        return self._cut(whole, Image.Resampling.BICUBIC).convert("RGB")

    def mask(self, mask_HW: np.ndarray) -> np.ndarray:
        """(P, P) bool of a mask of the slice, by nearest neighbour."""
        gray = Image.fromarray(mask_HW.astype(np.uint8) * 255)
        return np.asarray(self._cut(gray, Image.Resampling.NEAREST)) > 0

    def _cut(self, image: Image.Image, resample: Image.Resampling) -> Image.Image:
        height, width = (self.pixel_mm / step for step in self.spacing_mm)
        # The middle of pixel n lies at n + 0.5.
        left = self.column + 0.5 - PIXELS / 2 * width
        top = self.row + 0.5 - PIXELS / 2 * height
        return image.transform(
            (PIXELS, PIXELS),
            Image.Transform.AFFINE,
            (width, 0.0, left, 0.0, height, top),
            resample=resample,
        )


def with_scale(picture: Image.Image, field: Field) -> Image.Image:
    """The picture with a strip below it: a bar of `BAR_MM` and the window; no pixel is covered."""
    shown = Image.new("RGB", (PIXELS, PIXELS + _STRIP), _PLAIN)
    shown.paste(picture, (0, 0))
    pen, font = ImageDraw.Draw(shown), ImageFont.load_default()
    middle, end = PIXELS + _STRIP // 2, 8 + BAR_MM / field.pixel_mm
    pen.line((8, middle, end, middle), fill=_BRIGHT, width=2)
    for side in (8, end):
        pen.line((side, middle - 4, side, middle + 4), fill=_BRIGHT)
    pen.text((end + 6, PIXELS + 3), f"{BAR_MM} mm", fill=_BRIGHT, font=font)
    words = f"window {WINDOW_WORDS}"
    length = pen.textlength(words, font=font)
    pen.text((PIXELS - 8 - length, PIXELS + 3), words, fill=_BRIGHT, font=font)
    return shown


def write_picture(path: Path, picture: Image.Image) -> None:
    """Writes a PNG, atomically; the same bytes each time, the disclaimer as a text chunk.

    Raises:
        StorageError: The file cannot be written.
    """
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Disclaimer", DISCLAIMER)
    with atomic_path(path) as temporary:
        picture.save(temporary, format="PNG", compress_level=6, pnginfo=notes)

"""The slice of a finding as a picture, with a ring around the place.

The picture shows pixels and the ring only: nothing of it comes from an attribute of the series.
What is burned into the pixels themselves stays visible.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, PngImagePlugin

from moekit import DataError
from moekit.files import atomic_path
from moekit_medical.findings.record import DISCLAIMER, Finding
from moekit_medical.volume import Volume

LUNG_WINDOW = (-1000.0, 400.0)
_RING = (255, 64, 64)
_MARGIN = 2.0


def draw_overlay(volume: Volume, finding: Finding) -> Image.Image:
    """Draws the slice nearest to a finding in the lung window, and a ring around the finding.

    The ring has the finding's diameter and 2 pixels of room; where pixels are not square it is an
    ellipse.

    Args:
        volume: (D, H, W).
        finding: Its centre lies in the volume.

    Returns:
        An RGB image of W x H pixels: -1000 HU and less is black, 400 HU and more is white.

    Raises:
        DataError: The centre lies outside the volume.
    """
    _, h, w = finding.centre_index
    nearest = [round(number) for number in finding.centre_index]
    inside = zip(nearest, volume.hu_DHW.shape, strict=True)
    if not all(0 <= index < size for index, size in inside):
        raise DataError(
            "the finding lies outside the volume",
            whose="a finding",
            fix="draw a finding on the volume that it was found in",
            code="data/outside-volume",
        )
    image = Image.fromarray(_window(volume.hu_DHW[nearest[0]])).convert("RGB")
    _, spacing_h, spacing_w = volume.spacing_mm
    half_h = finding.size_mm / 2 / spacing_h + _MARGIN
    half_w = finding.size_mm / 2 / spacing_w + _MARGIN
    ImageDraw.Draw(image).ellipse((w - half_w, h - half_h, w + half_w, h + half_h), outline=_RING)
    return image


def write_overlay(path: Path, volume: Volume, finding: Finding) -> None:
    """Writes the picture of `draw_overlay` as PNG, atomically; the same bytes each time.

    The disclaimer is in the file as a text chunk.

    Raises:
        DataError: The centre lies outside the volume.
        StorageError: The file cannot be written.
    """
    image = draw_overlay(volume, finding)
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Disclaimer", DISCLAIMER)
    with atomic_path(path) as temporary:
        image.save(temporary, format="PNG", compress_level=6, pnginfo=notes)


def _window(hu_HW: np.ndarray) -> np.ndarray:
    """(H, W) uint8 of the lung window."""
    low, high = LUNG_WINDOW
    share_HW = (np.nan_to_num(hu_HW, nan=low) - low) / (high - low)
    window_HW: np.ndarray = (np.clip(share_HW, 0, 1) * 255).round().astype(np.uint8)
    return window_HW

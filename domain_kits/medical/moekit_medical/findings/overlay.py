"""The surroundings of a finding, enlarged, with a ring around the place and what speaks for it.

The picture shows pixels, the ring, the model's evidence, a scale bar and the window: nothing of it
comes from an attribute of the series. What is burned into the pixels themselves stays visible.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from PIL import Image, ImageDraw

from moekit import DataError
from moekit_medical.findings.record import Finding
from moekit_medical.findings.zoom import Field, with_scale
from moekit_medical.volume import Volume

_RING = (255, 64, 64)
_MARGIN = 3.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a model has to show for the score of one finding.

    Attributes:
        paint: Draws it over a picture of what the model saw, of any size; None for nothing.
        side_mm: Side of the square that the model saw.
        before_mm: From its left and upper edge to the finding.
    """

    paint: Callable[[Image.Image], Image.Image | None]
    side_mm: float
    before_mm: float


def draw_overlay(
    volume: Volume, finding: Finding, *, evidence: Evidence | None = None
) -> Image.Image:
    """Draws a finding's surroundings on the slice nearest to it.

    Args:
        volume: (D, H, W).
        finding: Its centre lies in the volume, by `centre_index`.
        evidence: Drawn where the model looked, below the ring; None for none.

    Returns:
        An RGB image: a square part of the slice, at least 60 mm wide, with a strip below it that
        holds a scale bar and the window. -1000 HU and less is black, 400 HU and more is white. The
        ring has the finding's diameter and 3 pixels of room.

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
    _, spacing_h, spacing_w = volume.spacing_mm
    field = Field.around(h, w, (spacing_h, spacing_w), size_mm=finding.size_mm)
    picture = field.picture(volume.hu_DHW[nearest[0]])
    if evidence is not None:
        _paint(picture, field, evidence)
    middle = picture.width / 2
    radius = finding.size_mm / 2 / field.pixel_mm + _MARGIN
    corners = (middle - radius, middle - radius, middle + radius, middle + radius)
    ImageDraw.Draw(picture).ellipse(corners, outline=_RING, width=2)
    return with_scale(picture, field)


def _paint(picture: Image.Image, field: Field, evidence: Evidence) -> None:
    """Draws evidence over the part of a picture that the model saw."""
    first = round(picture.width / 2 - evidence.before_mm / field.pixel_mm)
    side = round(evidence.side_mm / field.pixel_mm)
    seen = picture.crop((first, first, first + side, first + side))
    painted = evidence.paint(seen)
    if painted is not None:
        picture.paste(painted.resize(seen.size), (first, first))

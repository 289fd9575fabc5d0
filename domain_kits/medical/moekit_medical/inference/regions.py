"""The voxels that belong to a finding, by region growing.

Shapes: D slices, H rows, W columns.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import ndimage  # type: ignore[import-untyped]

from moekit_medical.findings.record import Finding
from moekit_medical.inference.crops import PIXEL_MM, PIXELS
from moekit_medical.volume import Volume

TISSUE_HU = -400.0
ROOM = 1.2
"""How much larger than estimated a finding may be, as a factor of its diameter."""

MOST_MM = PIXELS * PIXEL_MM
METHOD = (
    f"Voxels of at least {TISSUE_HU:g} HU connected face to face with the voxel nearest to the "
    f"centre, within a ball of {ROOM:g} times the estimated diameter, at most {MOST_MM:g} mm."
)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Regions:
    """The voxels of findings. Findings are numbered from 1, the best first.

    Attributes:
        number_DHW: (D, H, W) uint16, the number of the finding; 0 for none. A voxel that several
            claim is the best one's.
        numbers: The findings that have voxels of their own, in rising order.
        dark: Findings at which nothing could be grown.
        covered: Findings all of whose voxels are those of better ones, with one of these.
    """

    number_DHW: np.ndarray
    numbers: tuple[int, ...] = ()
    dark: tuple[int, ...] = ()
    covered: Mapping[int, int] = dataclasses.field(default_factory=dict)


def grow_regions(volume: Volume, findings: Sequence[Finding]) -> Regions:
    """Finds the voxels of findings; see `METHOD`.

    If the voxel nearest to the centre is darker than that, growth starts at the nearest one in
    the inner half of the ball that is not; if there is none, the finding has no region.

    Args:
        volume: (D, H, W), that in which the findings lie.
        findings: The best first, 65535 at most.
    """
    number_DHW = np.zeros(volume.hu_DHW.shape, dtype=np.uint16)
    numbers: list[int] = []
    dark: list[int] = []
    covered: dict[int, int] = {}
    for number, finding in enumerate(findings, 1):
        grown = _grow(volume, finding)
        if grown is None:
            dark.append(number)
            continue
        part, own_DHW = grown
        free_DHW = own_DHW & (number_DHW[part] == 0)
        if free_DHW.any():
            number_DHW[part][free_DHW] = number
            numbers.append(number)
        else:
            covered[number] = int(np.bincount(number_DHW[part][own_DHW]).argmax())
    return Regions(number_DHW=number_DHW, numbers=tuple(numbers), dark=tuple(dark), covered=covered)


def _grow(volume: Volume, finding: Finding) -> tuple[tuple[slice, ...], np.ndarray] | None:
    """A box of the volume, and which of its voxels are the finding's; None if there is none."""
    radius_mm = min(finding.size_mm * ROOM, MOST_MM) / 2
    box, offsets_mm = [], []
    for centre, size, spacing in zip(
        finding.centre_index, volume.hu_DHW.shape, volume.spacing_mm, strict=True
    ):
        reach = radius_mm / spacing + 0.5
        first, stop = max(0, int(np.ceil(centre - reach))), int(centre + reach) + 1
        box.append(slice(first, min(stop, size)))
        offset = np.abs(np.arange(first, min(stop, size)) - centre)
        # To the voxel's nearer face, so that thick slices take part.
        offsets_mm.append(np.maximum(offset - 0.5, 0) * spacing)
    along_d, along_h, along_w = np.ix_(*offsets_mm)
    away_mm_DHW = np.sqrt(along_d**2 + along_h**2 + along_w**2)
    part = tuple(box)
    bright_DHW = (volume.hu_DHW[part] >= TISSUE_HU) & (away_mm_DHW <= radius_mm)
    start_mm_DHW = np.where(bright_DHW, away_mm_DHW, np.inf)
    if start_mm_DHW.size == 0 or start_mm_DHW.min() > radius_mm / 2:
        return None
    labels_DHW, _ = ndimage.label(bright_DHW)
    return part, labels_DHW == labels_DHW.flat[start_mm_DHW.argmin()]

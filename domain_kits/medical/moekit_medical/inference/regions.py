"""The voxels that belong to a finding, by region growing.

Shapes: D slices, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Iterable

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


def grow_regions(volume: Volume, findings: Iterable[Finding]) -> tuple[np.ndarray, int]:
    """Marks the voxels of findings; see `METHOD`.

    Where the voxel nearest to the centre is darker than that, growth starts at the nearest one in
    the inner half of the ball that is not; where there is none, the finding has no region.

    Args:
        volume: (D, H, W), that in which the findings lie.
        findings: Any number.

    Returns:
        (D, H, W) bool, and how many findings have a region.
    """
    mask_DHW = np.zeros(volume.hu_DHW.shape, dtype=bool)
    count = 0
    for finding in findings:
        count += _grow(mask_DHW, volume, finding)
    return mask_DHW, count


def _grow(mask_DHW: np.ndarray, volume: Volume, finding: Finding) -> bool:
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
        return False
    labels_DHW, _ = ndimage.label(bright_DHW)
    mask_DHW[part] |= labels_DHW == labels_DHW.flat[start_mm_DHW.argmin()]
    return True

"""The connected lesions of a mask, measured.

Shapes: D slices, H rows, W columns.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from scipy import ndimage  # type: ignore[import-untyped]

from moekit_medical.volume import Volume

_MOST = 65535


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lesion:
    """One connected part of a mask.

    Attributes:
        volume_mm3: Its voxels times their volume, mm^3.
        voxels: How many.
        centre_mm: The mean of its voxel centres, LPS mm.
        slices: How many slices it touches.
        widest: The slice (d) in which it has the most voxels.
        sop_uid: SOPInstanceUID of that slice; empty for NIfTI.
    """

    volume_mm3: float
    voxels: int
    centre_mm: tuple[float, float, float]
    slices: int
    widest: int
    sop_uid: str

    def as_json(self) -> dict[str, Any]:
        """The lesion for summary.json."""
        return {
            "volume_mm3": round(self.volume_mm3, 1),
            "voxels": self.voxels,
            "centre_mm": [round(number, 3) + 0.0 for number in self.centre_mm],
            "slices": self.slices,
            "widest_slice": self.widest,
            "sop_uid": self.sop_uid,
        }


def number_lesions(mask_DHW: np.ndarray, volume: Volume) -> tuple[tuple[Lesion, ...], np.ndarray]:
    """The lesions of a mask, the largest first, equal ones by their place; and their voxels.

    Voxels that touch at a face, an edge or a corner are of one lesion.

    Args:
        mask_DHW: (D, H, W) bool.
        volume: In which it lies.

    Returns:
        The lesions, and (D, H, W) uint16: the number of the lesion, from 1; 0 for none. All from
        the 65535th on have that number.
    """
    labels_DHW, count = ndimage.label(mask_DHW, structure=np.ones((3, 3, 3)))
    voxel_mm3 = abs(float(np.linalg.det(volume.affine[:3, :3])))
    found: list[tuple[Lesion, int]] = []
    for number, box in enumerate(ndimage.find_objects(labels_DHW, max_label=count), 1):
        inside = labels_DHW[box] == number
        counts_D = inside.sum(axis=(1, 2))
        index_N3 = np.argwhere(inside) + [side.start for side in box]
        x, y, z = volume.to_patient(index_N3.mean(axis=0)[None])[0]
        widest = int(box[0].start + counts_D.argmax())
        lesion = Lesion(
            volume_mm3=len(index_N3) * voxel_mm3,
            voxels=len(index_N3),
            centre_mm=(float(x), float(y), float(z)),
            slices=int((counts_D > 0).sum()),
            widest=widest,
            sop_uid=volume.sop_uids[widest],
        )
        found.append((lesion, number))
    found.sort(key=lambda one: (-one[0].voxels, one[0].centre_mm))
    rank_of = np.zeros(count + 1, dtype=np.uint16)
    for rank, (_, number) in enumerate(found, 1):
        rank_of[number] = min(rank, _MOST)
    return tuple(lesion for lesion, _ in found), rank_of[labels_DHW]

"""A CT volume in Hounsfield units with its place in the patient.

Shapes: D slices, H rows, W columns.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from monai.data.meta_tensor import MetaTensor


@dataclasses.dataclass(frozen=True, kw_only=True)
class Volume:
    """One series as a regular grid.

    Attributes:
        hu_DHW: (D, H, W) float32 in Hounsfield units; slices ordered along the slice normal.
        affine: (4, 4) float64, from voxel indices (d, h, w, 1) to patient coordinates in mm, LPS
            (DICOM PS3.3 C.7.6.2.1.1: x to the left, y to the back, z to the head).
        series_uid: SeriesInstanceUID.
        study_uid: StudyInstanceUID.
        frame_of_reference_uid: FrameOfReferenceUID, or None.
        sop_uids: SOPInstanceUID of the slice each d came from; if the volume was resampled the
            nearest original slice.
        repairs: What was mended, and what of the values must be known, one sentence each; empty
            for a series taken as it is.
        is_interpolated: Whether slices were made from their neighbours.
        facts: Attributes that subgroups and reports may use and that identify nobody:
            manufacturer, model, kvp, slice_thickness_mm, convolution_kernel, body_part,
            patient_sex, patient_age_years if present; all str.
    """

    hu_DHW: np.ndarray
    affine: np.ndarray
    series_uid: str
    study_uid: str
    frame_of_reference_uid: str | None
    sop_uids: tuple[str, ...]
    repairs: tuple[str, ...] = ()
    is_interpolated: bool = False
    facts: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance of neighbouring voxel centres along d, h and w, in mm."""
        d, h, w = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(d), float(h), float(w)

    def to_patient(self, index_N3: np.ndarray) -> np.ndarray:
        """(N, 3) voxel indices (d, h, w), fractions allowed, to (N, 3) LPS mm."""
        placed: np.ndarray = index_N3 @ self.affine[:3, :3].T + self.affine[:3, 3]
        return placed

    def to_index(self, point_N3: np.ndarray) -> np.ndarray:
        """(N, 3) LPS mm to (N, 3) fractional voxel indices (d, h, w)."""
        inverse = np.linalg.inv(self.affine[:3, :3])
        index: np.ndarray = (point_N3 - self.affine[:3, 3]) @ inverse.T
        return index

    def as_meta_tensor(self) -> MetaTensor:
        """The volume as a MONAI MetaTensor (1, D, H, W) in LPS."""
        import torch
        from monai.data.meta_tensor import MetaTensor
        from monai.utils.enums import MetaKeys, SpaceKeys

        return MetaTensor(
            torch.from_numpy(self.hu_DHW)[None],
            affine=torch.from_numpy(self.affine),
            meta={MetaKeys.SPACE: SpaceKeys.LPS},
        )

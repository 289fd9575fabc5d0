"""Where the voxels of a NIfTI file lie: unit, qform, sform and pixdim, and what contradicts itself.

A header states the place of its voxels up to three times (NIfTI-1.1, methods 1 to 3): by pixdim
only, by the qform, and by the sform. If both forms are coded they must agree, and an sform must
have the voxel size that pixdim states. Programs take one or the other, so a file that contradicts
itself shows another patient's side, or lesions at another place, in each of them: it is refused.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np

from moekit_medical.loaders.crops import CropError

NO_PLACE = "The file states no place in the patient; its axes were taken as right, front and head."
NO_UNIT = "The file states no unit of length; it was taken for millimetres."
SPACING_MM = (0.001, 100.0)
RIGHT_ANGLE = 1e-3
"""By how much the dot product of two axes' directions may differ from 0."""

SAME_SIZE = 0.01
"""By what share the voxel size of the sform may differ from pixdim."""

SAME_PLACE = 0.5
"""By what share of the smallest voxel side the forms may place a corner of the volume apart."""

ROUNDING_MM = 0.01
"""Forms that differ by no more than this are equal: they are written as float32."""

_MM_OF_UNIT = {"mm": 1.0, "unknown": 1.0, "meter": 1000.0, "micron": 0.001}
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


class NiftiError(CropError):
    """A NIfTI file cannot be used; the message holds nothing of the file.

    Attributes:
        code: Which failure it is, as in `moekit.errors`.
    """

    def __init__(self, what: str, *, code: str) -> None:
        super().__init__(what)
        self.code = code


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """Where the voxels of a file lie.

    Attributes:
        affine: (4, 4) from the file's own indices (third, second, first axis, 1) to LPS mm.
        is_placed: Whether the file says where the patient is (a qform or an sform).
        repairs: What had to be assumed, one sentence each.
    """

    affine: np.ndarray
    is_placed: bool
    repairs: tuple[str, ...]


def place_of(header: Any) -> Place:
    """The place that a header states.

    Args:
        header: Of nibabel, NIfTI-1 or NIfTI-2, of a volume of three axes.

    Raises:
        NiftiError: The geometry is no one that a CT can have, or the header contradicts itself.
    """
    unit = _unit(header)
    to_mm = np.diag([*[_MM_OF_UNIT[unit]] * 3, 1.0])
    sform, qform = int(header["sform_code"]) > 0, int(header["qform_code"]) > 0
    affine = to_mm @ np.array(header.get_best_affine(), dtype=np.float64)
    _check_axes(affine)
    repairs = [] if sform or qform else [NO_PLACE]
    if unit == "unknown":
        repairs.append(NO_UNIT)
    if sform:
        _check_size(affine, to_mm, np.array(header["pixdim"][1:4], dtype=np.float64))
    if sform and qform:
        repairs += _compare(affine, to_mm @ header.get_qform(), header.get_data_shape()[:3])
    return Place(
        affine=(_RAS_TO_LPS @ affine)[:, [2, 1, 0, 3]],
        is_placed=sform or qform,
        repairs=tuple(repairs),
    )


def _unit(header: Any) -> str:
    try:
        return str(header.get_xyzt_units()[0])
    except KeyError:
        raise NiftiError(
            "the unit of length is none that NIfTI knows", code="data/bad-geometry"
        ) from None


def _check_axes(affine: np.ndarray) -> None:
    low, high = SPACING_MM
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if not (np.isfinite(affine).all() and np.all((spacing >= low) & (spacing <= high))):
        raise NiftiError(
            f"the distance of voxels is not between {low} and {high} mm", code="data/bad-geometry"
        )
    directions = affine[:3, :3] / spacing
    if np.abs(directions.T @ directions - np.eye(3)).max() > RIGHT_ANGLE:
        raise NiftiError("the volume's axes are not at right angles", code="data/bad-geometry")


def _check_size(affine: np.ndarray, to_mm: np.ndarray, pixdim: np.ndarray) -> None:
    """Compares the voxel size of the sform with pixdim, as far as that states one."""
    stated = np.abs(pixdim) * np.diag(to_mm)[:3]
    found = np.linalg.norm(affine[:3, :3], axis=0)
    if (stated > 0).any() and not (np.abs(found - stated) <= SAME_SIZE * stated).all():
        raise NiftiError(
            f"the sform has voxels of {_sides(found)} mm and pixdim states {_sides(stated)} mm;"
            " write the right one into both",
            code="data/contradiction",
        )


def _compare(sform: np.ndarray, qform: np.ndarray, shape: tuple[int, ...]) -> list[str]:
    """What is said of two forms that agree except for rounding."""
    corners = itertools.product(*[(0, size - 1) for size in shape])
    corner_84 = np.array([[*corner, 1] for corner in corners], dtype=np.float64)
    apart_mm = float(np.linalg.norm(corner_84 @ (sform - qform).T, axis=1).max())
    if not apart_mm <= SAME_PLACE * np.linalg.norm(sform[:3, :3], axis=0).min():
        raise NiftiError(
            f"the qform and the sform place a corner of the volume {apart_mm:.1f} mm apart;"
            " write the right one into both",
            code="data/contradiction",
        )
    if apart_mm <= ROUNDING_MM:
        return []
    return [f"The qform and the sform differ by up to {apart_mm:.2f} mm; the sform was taken."]


def _sides(mm_3: np.ndarray) -> str:
    return " x ".join(f"{side:.3g}" for side in mm_3)

"""Reads a NIfTI file (the NIfTI-1 and NIfTI-2 data format standards) as a volume."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from moekit import DataError
from moekit_medical.findings.identifiers import derive_uid
from moekit_medical.inference.grids import upright
from moekit_medical.privacy import token
from moekit_medical.silence import silenced
from moekit_medical.volume import Volume

MAX_VOXELS = 2**30
SUFFIXES = (".nii", ".nii.gz")
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_MM_OF_UNIT = {"mm": 1.0, "unknown": 1.0, "meter": 1000.0, "micron": 0.001}
_SHEAR = 1e-3
_NO_PLACE = "The file states no place in the patient; its axes were taken as right, front and head."


def is_nifti(path: Path) -> bool:
    """Whether the name of a file is that of a NIfTI file."""
    return path.name.lower().endswith(SUFFIXES)


def read_nifti(path: Path, *, salt: bytes) -> Volume:
    """Reads a CT volume; values are taken as Hounsfield units as they are stored and scaled.

    The axes are exchanged and turned round, without interpolation, so that d runs to the head, h
    to the back and w to the left. UIDs are hashes of the content. Values that are not finite
    become air of -1024 HU.

    Args:
        path: A .nii or .nii.gz file.
        salt: Secret of this run, for the token that names the file in errors.

    Returns:
        A volume with an empty text for each SOPInstanceUID.

    Raises:
        DataError: It cannot be read, is no three-dimensional picture of numbers, is too large, or
            its axes are not at right angles.
    """
    whose = f"file {token(str(path), salt=salt)}"
    try:
        with silenced("nibabel"):  # it names files and values
            image: Any = nibabel.load(path)
            _check(image, whose)
            data_IJK = np.asarray(image.get_fdata(dtype=np.float32, caching="unchanged"))
            affine, repairs = _place(image, whose)
    except DataError:
        raise
    except Exception as error:
        raise _unfit(
            f"the file is no readable NIfTI ({type(error).__name__})", whose, code="data/damaged"
        ) from None
    data_IJK = data_IJK.reshape(data_IJK.shape[:3])
    content = (affine.tobytes(), str(data_IJK.shape), np.ascontiguousarray(data_IJK).tobytes())
    volume = upright(
        Volume(
            hu_DHW=np.nan_to_num(data_IJK, nan=-1024.0, posinf=-1024.0, neginf=-1024.0),
            affine=affine,
            series_uid=derive_uid("nifti series", *content),
            study_uid=derive_uid("nifti study", *content),
            frame_of_reference_uid=None,
            sop_uids=(),
            repairs=repairs,
        )
    )
    hu_DHW = np.ascontiguousarray(volume.hu_DHW)
    return dataclasses.replace(volume, hu_DHW=hu_DHW, sop_uids=("",) * len(hu_DHW))


def _check(image: Any, whose: str) -> None:
    shape = tuple(int(size) for size in image.shape)
    if len(shape) < 3 or min(shape) < 1 or any(size > 1 for size in shape[3:]):
        raise _unfit(
            "the file holds no single three-dimensional picture", whose, code="data/array-shape"
        )
    if int(np.prod(shape, dtype=object)) > MAX_VOXELS:
        raise _unfit(f"the file claims more than {MAX_VOXELS} voxels", whose, code="data/too-large")
    if image.get_data_dtype().kind not in "iuf":
        raise _unfit("the voxels are not plain numbers", whose, code="data/array-type")


def _place(image: Any, whose: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """The affine from (i, j, k) to LPS mm, and what had to be assumed."""
    units = image.header.get_xyzt_units()[0]
    if units not in _MM_OF_UNIT:
        raise _unfit("the unit of length is unknown", whose, code="data/bad-geometry")
    affine = np.diag([*[_MM_OF_UNIT[units]] * 3, 1.0]) @ np.array(image.affine, dtype=np.float64)
    affine = _RAS_TO_LPS @ affine
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or lengths.min() <= 0:
        raise _unfit(
            "the place of the voxels is not stated in finite numbers",
            whose,
            code="data/bad-geometry",
        )
    directions = affine[:3, :3] / lengths
    if np.abs(directions.T @ directions - np.eye(3)).max() > _SHEAR:
        raise _unfit("the axes are not at right angles", whose, code="data/bad-geometry")
    stated = int(image.header["sform_code"]) > 0 or int(image.header["qform_code"]) > 0
    return affine, () if stated else (_NO_PLACE,)


def _unfit(what: str, whose: str, *, code: str) -> DataError:
    return DataError(
        what, whose=whose, fix="give one CT volume as a NIfTI file, or its DICOM series", code=code
    )

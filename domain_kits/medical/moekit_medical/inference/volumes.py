"""Reads a NIfTI file (the NIfTI-1 and NIfTI-2 data format standards) as a volume."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from moekit import DataError
from moekit_medical.findings.identifiers import derive_uid
from moekit_medical.inference.grids import upright
from moekit_medical.loaders import nifti_file
from moekit_medical.loaders.nifti_place import NiftiError
from moekit_medical.privacy import token
from moekit_medical.volume import Volume


def is_nifti(path: Path) -> bool:
    """Whether the name of a file is that of a NIfTI file."""
    return path.name.lower().endswith(nifti_file.SUFFIXES)


def read_nifti(path: Path, *, salt: bytes) -> Volume:
    """Reads a CT volume by the rules of `moekit_medical.loaders.nifti_file`.

    The axes are exchanged and turned round, without interpolation, so that d runs to the head, h
    to the back and w to the left. UIDs are hashes of the content.

    Args:
        path: A .nii or .nii.gz file.
        salt: Secret of this run, for the token that names the file in errors.

    Returns:
        A volume with an empty text for each SOPInstanceUID.

    Raises:
        DataError: It cannot be read, is no three-dimensional picture of Hounsfield units, is too
            large, or its geometry contradicts itself.
    """
    try:
        read = nifti_file.read_nifti(path)
    except NiftiError as error:
        raise DataError(
            str(error),
            whose=f"file {token(str(path), salt=salt)}",
            fix="give one CT volume as a NIfTI file, or its DICOM series",
            code=error.code,
        ) from None
    hu_IJK, affine = read.values_KJI.T, read.place.affine[:, [2, 1, 0, 3]]
    content = (affine.tobytes(), str(hu_IJK.shape), np.ascontiguousarray(hu_IJK).tobytes())
    volume = upright(
        Volume(
            hu_DHW=hu_IJK,
            affine=affine,
            series_uid=derive_uid("nifti series", *content),
            study_uid=derive_uid("nifti study", *content),
            frame_of_reference_uid=None,
            sop_uids=(),
            repairs=read.repairs,
        )
    )
    hu_DHW = np.ascontiguousarray(volume.hu_DHW)
    return dataclasses.replace(volume, hu_DHW=hu_DHW, sop_uids=("",) * len(hu_DHW))

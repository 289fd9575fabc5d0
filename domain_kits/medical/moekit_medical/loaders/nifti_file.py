"""Reads a NIfTI volume that nobody vouches for (NIfTI-1.1 and NIfTI-2 data format standards).

Sizes are checked against the length of the file before anything is allocated, and header extensions
are never read: they may claim any size, and may hold names.
"""

from __future__ import annotations

import dataclasses
import gzip
import math
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header

from moekit_medical.hounsfield import AIR_HU, why_no_hounsfield, words_of_one_value
from moekit_medical.loaders.crops import Scan, turn_to_patient
from moekit_medical.loaders.nifti_place import NiftiError, Place, place_of
from moekit_medical.silence import silenced

SUFFIXES = (".nii", ".nii.gz")
MAX_VOXELS = 2**30
_MAX_OFFSET = 16 * 2**20
"""Where the voxels must begin at the latest."""

_MAX_REST = 2**20
"""Zeros that may follow the voxels. Anything else may be voxels that the header leaves out."""

_MAX_DEFLATE = 1040
"""Deflate makes no more of a byte than this (RFC 1951: 1032)."""

_MOST_OF_A_PICTURE = 255
PICTURE = "All values lie within 0 to 255, as in a picture; they were taken as Hounsfield units."

NAN_SLOPE = "The scale of the values (scl_slope) is not a number; they were taken as stored."
UNUSED_INTERCEPT = (
    "The scale of the values (scl_slope) is 0, which means none; what the file would add to them"
    " (scl_inter) was not added."
)

_Header = Any  # nibabel's headers have no types
_HEADERS: dict[int, tuple[_Header, bytes, int]] = {
    348: (Nifti1Header, b"n+1\0", 344),
    540: (Nifti2Header, b"n+2\0", 4),
}
"""By the size that a header states: its class, its magic and where that stands."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class NiftiVolume:
    """A volume and what its indices mean.

    Attributes:
        values_KJI: (K, J, I) float32, the third axis of the file first; scaled as the file says.
        place: Where it lies.
        repairs: What was mended or assumed, one sentence each.
    """

    values_KJI: np.ndarray
    place: Place
    repairs: tuple[str, ...]

    @property
    def scan(self) -> Scan:
        """With its axes turned to the patient's; a view."""
        return turn_to_patient(self.values_KJI, self.place.affine)


def read_nifti(path: Path) -> NiftiVolume:
    """Reads a .nii or .nii.gz file of one volume in Hounsfield units.

    Values that are not finite become air of -1024 HU, which is recorded.

    Raises:
        NiftiError: It is not a volume that can be used; the message holds nothing of the file.
    """
    volume = read_values(path)
    hu_KJI = volume.values_KJI
    lost_KJI = ~np.isfinite(hu_KJI)
    lost = int(lost_KJI.sum())
    if lost == hu_KJI.size:
        raise NiftiError("no value of the volume is a finite number", code="data/not-finite")
    repairs = volume.repairs
    if lost:
        hu_KJI[lost_KJI] = AIR_HU
        repairs += (f"{lost} of {hu_KJI.size} voxels were not finite and were set to -1024 HU.",)
    if hu_KJI.min() >= 0 and 0 < hu_KJI.max() <= _MOST_OF_A_PICTURE:
        repairs += (PICTURE,)
    repairs += tuple(words_of_one_value(hu_KJI))
    problem = why_no_hounsfield(hu_KJI)
    if problem:
        raise NiftiError(f"no Hounsfield units: {problem}", code="data/not-hounsfield")
    return dataclasses.replace(volume, values_KJI=hu_KJI, repairs=repairs)


def read_values(path: Path) -> NiftiVolume:
    """Reads a .nii or .nii.gz file of one volume of any numbers, such as a label.

    Raises:
        NiftiError: As `read_nifti` does.
    """
    with silenced("nibabel.global"):  # it may repeat what a header says
        try:
            header = _read_header(path)
            values_KJI = _read_voxels(path, header)
            place = place_of(header)
        except NiftiError:
            raise
        except MemoryError:
            raise NiftiError(
                "the volume needs more memory than there is", code="data/too-large"
            ) from None
        except Exception as error:  # parsers of damaged bytes raise nearly anything
            kind = type(error).__name__
            raise NiftiError(
                f"the volume is truncated or damaged ({kind})", code="data/damaged"
            ) from None
    repairs = (*place.repairs, *_doubts_of_scale(header))
    return NiftiVolume(values_KJI=values_KJI, place=place, repairs=repairs)


def read_remarks(path: Path) -> tuple[str, ...]:
    """What must be assumed to read a file, by its header; empty if that cannot be read."""
    with silenced("nibabel.global"):
        try:
            header = _read_header(path)
            return (*place_of(header).repairs, *_doubts_of_scale(header))
        except Exception:  # whoever reads the voxels says why
            return ()


def _doubts_of_scale(header: _Header) -> tuple[str, ...]:
    """What is said of a scaling that the file states in part.

    A slope of 0 says that values are not scaled; any other one scales them (NIfTI-1.1, scl_slope).
    NaN, which scales them to nothing, is what some programs write for "not set".
    """
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if np.isnan(slope):
        return (NAN_SLOPE,)
    return (UNUSED_INTERCEPT,) if slope == 0 and intercept != 0 else ()


def _read_header(path: Path) -> _Header:
    with _open(path) as file:
        content = file.read(max(_HEADERS))
    for size, (kind, magic, place) in _HEADERS.items():
        if content[place : place + 4] == magic and len(content) >= size:
            return kind(content[:size])
    raise NiftiError("the file is not a NIfTI volume in one file", code="data/damaged")


def _read_voxels(path: Path, header: _Header) -> np.ndarray:
    """(K, J, I) float32: the third axis of the file first."""
    shape = tuple(int(side) for side in header.get_data_shape())
    dtype, offset = header.get_data_dtype(), int(header.get_data_offset())
    if len(shape) < 3 or min(shape) < 1 or any(side > 1 for side in shape[3:]):
        raise NiftiError("the file does not hold exactly one volume", code="data/array-shape")
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise NiftiError(
            "the voxels are neither integers nor floating-point numbers", code="data/array-type"
        )
    if offset < header.single_vox_offset:
        raise NiftiError(
            "the header says that the voxels begin within the header", code="data/damaged"
        )
    if np.isinf(header["scl_slope"]):
        raise NiftiError("the values are scaled by no finite number", code="data/damaged")
    count = math.prod(shape)
    if count > MAX_VOXELS or offset > _MAX_OFFSET:
        raise NiftiError(
            f"the volume claims more than {MAX_VOXELS} voxels, or a long preface",
            code="data/too-large",
        )
    length = path.stat().st_size * (_MAX_DEFLATE if _is_compressed(path) else 1)
    if offset + count * dtype.itemsize > length:
        raise NiftiError(
            "the header claims more voxels than the file can hold", code="data/damaged"
        )
    content = _read_bytes(path, offset, count * dtype.itemsize)
    stored_KJI = np.frombuffer(content, dtype).reshape(shape[2::-1])
    values_KJI = np.empty(stored_KJI.shape, dtype=np.float32)
    slope, intercept = header.get_slope_inter()
    for value_JI, stored_JI in zip(values_KJI, stored_KJI, strict=True):
        value_JI[:] = stored_JI
        if slope is not None:  # in float64, so that a value is rounded once
            value_JI[:] = stored_JI * np.float64(slope) + np.float64(intercept)
    return values_KJI


def _read_bytes(path: Path, offset: int, count: int) -> bytes:
    """The voxels; a compressed file is read to its end, where its checksum is."""
    with _open(path) as file:
        file.seek(offset)
        content = file.read(count)
        if len(content) < count:
            raise NiftiError("the volume is shorter than its header says", code="data/damaged")
        rest = file.read(_MAX_REST + 1)
        if len(rest) > _MAX_REST or rest.strip(b"\0"):
            raise NiftiError(
                "the file holds more than the volume of its header", code="data/damaged"
            )
    return content


def _open(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path)) if _is_compressed(path) else path.open("rb")


def _is_compressed(path: Path) -> bool:
    return path.name.lower().endswith(".gz")

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

from moekit_medical.loaders.crops import CropError, Scan, turn_to_patient
from moekit_medical.silence import silenced

SUFFIXES = (".nii", ".nii.gz")
MAX_VOXELS = 2**30
_MAX_OFFSET = 16 * 2**20
"""Where the voxels must begin at the latest."""

_MAX_REST = 2**20
"""Bytes that may follow the voxels."""

_MAX_DEFLATE = 1040
"""Deflate makes no more of a byte than this (RFC 1951: 1032)."""

_SPACING_MM = (0.001, 100.0)
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
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
        scan: With its axes turned to the patient's.
        affine: (4, 4) from the file's own indices (third, second, first axis, 1) to LPS mm.
        is_placed: Whether the file says where the patient is (a qform or an sform); without it the
            directions are those of NIfTI's method 1, and points in mm mean nothing.
    """

    scan: Scan
    affine: np.ndarray
    is_placed: bool


def read_nifti(path: Path) -> NiftiVolume:
    """Reads a .nii or .nii.gz file of one volume in Hounsfield units.

    Raises:
        CropError: It is not a volume that can be used; the message holds nothing of the file.
    """
    with silenced("nibabel.global"):  # it may repeat what a header says
        try:
            header = _read_header(path)
            hu_KJI = _read_voxels(path, header)
            affine = _affine(header)
            placed = max(int(header["sform_code"]), int(header["qform_code"])) > 0
            scan = turn_to_patient(hu_KJI, affine)
        except CropError:
            raise
        except MemoryError:
            raise CropError("the volume needs more memory than there is") from None
        except Exception as error:  # parsers of damaged bytes raise nearly anything
            kind = type(error).__name__
            raise CropError(f"the volume is truncated or damaged ({kind})") from None
    return NiftiVolume(scan=scan, affine=affine, is_placed=placed)


def _read_header(path: Path) -> _Header:
    with _open(path) as file:
        content = file.read(max(_HEADERS))
    for size, (kind, magic, place) in _HEADERS.items():
        if content[place : place + 4] == magic and len(content) >= size:
            return kind(content[:size])
    raise CropError("the file is not a NIfTI volume in one file")


def _read_voxels(path: Path, header: _Header) -> np.ndarray:
    """(K, J, I) float32: the third axis of the file first."""
    shape = tuple(int(side) for side in header.get_data_shape())
    dtype, offset = header.get_data_dtype(), int(header.get_data_offset())
    if len(shape) < 3 or min(shape) < 1 or any(side > 1 for side in shape[3:]):
        raise CropError("the file does not hold exactly one volume")
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise CropError("the voxels are neither integers nor floating-point numbers")
    count = math.prod(shape)
    if count > MAX_VOXELS or offset > _MAX_OFFSET:
        raise CropError(f"the volume claims more than {MAX_VOXELS} voxels, or a long preface")
    length = path.stat().st_size * (_MAX_DEFLATE if _is_compressed(path) else 1)
    if offset + count * dtype.itemsize > length:
        raise CropError("the header claims more voxels than the file can hold")
    content = _read_bytes(path, offset, count * dtype.itemsize)
    hu_KJI = np.frombuffer(content, dtype).reshape(shape[2::-1]).astype(np.float32)
    slope, intercept = header.get_slope_inter()
    if slope is not None:
        hu_KJI *= np.float32(slope)
        hu_KJI += np.float32(intercept)
    return hu_KJI


def _read_bytes(path: Path, offset: int, count: int) -> bytes:
    """The voxels; a compressed file is read to its end, where its checksum is."""
    with _open(path) as file:
        file.seek(offset)
        content = file.read(count)
        if len(content) < count:
            raise CropError("the volume is shorter than its header says")
        if len(file.read(_MAX_REST + 1)) > _MAX_REST:
            raise CropError("the file holds more than the volume of its header")
    return content


def _affine(header: _Header) -> np.ndarray:
    if header.get_xyzt_units()[0] not in ("mm", "unknown"):
        raise CropError("the volume's unit of length is not the millimetre")
    affine: np.ndarray = (_RAS_TO_LPS @ header.get_best_affine())[:, [2, 1, 0, 3]]
    low, high = _SPACING_MM
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if not (np.isfinite(affine).all() and np.all((spacing >= low) & (spacing <= high))):
        raise CropError(f"the distance of voxels is not between {low} and {high} mm")
    if abs(np.linalg.det(affine[:3, :3] / spacing)) < 0.5:
        raise CropError("the volume's axes are not nearly at right angles")
    return affine


def _open(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path)) if _is_compressed(path) else path.open("rb")


def _is_compressed(path: Path) -> bool:
    return path.name.lower().endswith(".gz")

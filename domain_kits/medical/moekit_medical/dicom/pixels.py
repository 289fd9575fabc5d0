"""From stored values to Hounsfield units, and the two resamplings a plan may ask for.

- Only the low BitsStored bits of a value count (PS3.5 8.1.1); the others are cleared, and that is
  recorded if they held something.
- HU = RescaleSlope x value + RescaleIntercept, of each slice its own (PS3.3 C.11.1.1.2).
- Voxels of PixelPaddingValue, or between it and PixelPaddingRangeLimit, were not measured (PS3.3
  C.7.5.1.1.2): they become -1024 HU, the least a 12-bit CT value stands for; recorded if that
  changes one.
- MONOCHROME1 says how to display values, least as white (PS3.3 C.7.6.3.1.2), after the modality
  LUT: the HU stay as they are, and it is recorded.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import get_j2k_parameters
from pydicom.uid import UID, JPEG2000TransferSyntaxes, JPEGTransferSyntaxes

from moekit.data import jpeg_with_other_end
from moekit_medical.dicom.geometry import Plan
from moekit_medical.dicom.lossless import register
from moekit_medical.dicom.reading import describe, read
from moekit_medical.dicom.slices import Slice
from moekit_medical.dicom.sources import MAX_RATIO, RATIO_FREE_BYTES
from moekit_medical.dicom.verdict import RefusedError, SetAsideError
from moekit_medical.hounsfield import AIR_HU

PADDING = "Padding voxels were set to -1024 HU."
UNUSED_BITS = "Bits beyond BitsStored were not empty and were cleared."
J2K_SIGN = "The JPEG 2000 data say unsigned and the header signed; the header was taken."
MONOCHROME1 = "MONOCHROME1 tells how to display the values; they were not inverted."

_LEAST_BITS = 12
"""BitsStored of a CT image at least (PS3.3 C.8.2.1.1)."""

_AGAIN = "copy or export this file again"


def hounsfield(slices: Sequence[Slice]) -> tuple[list[np.ndarray], frozenset[str]]:
    """The slices of one file; call inside `reading.quiet`.

    Args:
        slices: All of one source.

    Returns:
        For each slice (H, W) float32 HU, and the repairs.

    Raises:
        RefusedError: The file cannot be decoded; it is named by its token.
    """
    source = slices[0].source
    try:
        dataset = read(source, pixels=True)
        stored_FHW = _decode(dataset, slices, source.token)
        images, notes = _to_hounsfield(dataset, stored_FHW, slices)
        return images, notes | _sign_notes(dataset, source.token)
    except SetAsideError as aside:
        raise RefusedError(
            f"file {source.token}: {aside.reason}", fix=_AGAIN, code="data/unreadable"
        ) from None
    except RefusedError:
        raise
    except Exception as error:
        raise RefusedError(
            f"the pixel data of file {source.token} cannot be decoded: {describe(error)}",
            fix=_AGAIN,
            code="data/cannot-decode",
        ) from None


def _decode(dataset: FileDataset, slices: Sequence[Slice], name: str) -> np.ndarray:
    """(F, H, W) stored values with all their bits."""
    rows, columns, frames = (
        slices[0].rows,
        slices[0].columns,
        int(dataset.get("NumberOfFrames") or 1),
    )
    if (dataset.Rows, dataset.Columns) != (rows, columns) or len(slices) != frames:
        raise RefusedError(
            f"file {name} changed while it was read",
            fix="run the command again",
            code="data/changed",
        )
    if "PixelData" not in dataset:
        raise RefusedError(f"file {name} holds no pixel data", fix=_AGAIN, code="data/no-pixels")
    if dataset.PhotometricInterpretation not in ("MONOCHROME1", "MONOCHROME2"):
        raise RefusedError(
            f"the pixels of file {name} are not monochrome", fix="give CT images", code="data/no-ct"
        )
    if dataset.BitsAllocated not in (8, 16, 32) or dataset.BitsStored > dataset.BitsAllocated:
        raise RefusedError(
            f"the pixels of file {name} have a depth that CT does not allow",
            fix=_AGAIN,
            code="data/bad-pixels",
        )
    if int(dataset.get("HighBit", dataset.BitsStored - 1)) != dataset.BitsStored - 1:
        raise RefusedError(
            f"the pixels of file {name} do not end at the lowest bit",
            fix=_AGAIN,
            code="data/bad-pixels",
        )
    syntax = dataset.file_meta.TransferSyntaxUID
    _check_decoder(syntax, name)
    if not syntax.is_encapsulated:
        _check_length(dataset, slices, name)
    elif rows * columns * frames * dataset.BitsAllocated // 8 > max(
        RATIO_FREE_BYTES, MAX_RATIO * len(dataset.PixelData)
    ):
        raise RefusedError(
            f"file {name} decodes to more than {MAX_RATIO} times its size; it may be a trap",
            fix=_AGAIN,
            code="data/too-large",
        )
    options = {"correct_unused_bits": False, "allow_excess_frames": False}
    decoder = get_decoder(syntax)
    stored, _ = decoder.as_array(dataset, raw=True, **options)  # type: ignore[arg-type]
    if syntax in JPEGTransferSyntaxes:
        with _other_ends(dataset, frames, name):
            again, _ = decoder.as_array(dataset, raw=True, **options)  # type: ignore[arg-type]
        if not np.array_equal(stored, again):
            raise _ends_early(name)
    return stored.reshape(frames, rows, columns)


@contextlib.contextmanager
def _other_ends(dataset: FileDataset, frames: int, name: str) -> Iterator[None]:
    """The pixel data with other bytes behind those of each frame, which no decoder needs.

    Decoders of JPEG make up what is missing, and tell nobody.

    Raises:
        RefusedError: A scan is missing.
    """
    given = dataset.PixelData
    ends = [jpeg_with_other_end(one) for one in generate_frames(given, number_of_frames=frames)]
    whole = [one for one in ends if one is not None]
    if len(whole) < len(ends):
        raise _ends_early(name)
    dataset.PixelData = encapsulate(whole, has_bot=False)
    try:
        yield
    finally:
        dataset.PixelData = given


def _ends_early(name: str) -> RefusedError:
    return RefusedError(f"the pixel data of file {name} end early", fix=_AGAIN, code="data/damaged")


def _check_length(dataset: FileDataset, slices: Sequence[Slice], name: str) -> None:
    """Refuses native pixels that are not those of the header.

    Bytes that follow them are padding only if they are too few for a row or column of each frame:
    a header of another matrix, depth or number of frames would show other pixels.
    """
    one, size = slices[0], dataset.BitsAllocated // 8
    beyond = len(dataset.PixelData) - one.rows * one.columns * len(slices) * size
    if beyond < 0:
        raise _ends_early(name)
    if beyond > 1 and beyond >= min(one.rows, one.columns) * len(slices) * size:
        raise RefusedError(
            f"file {name} holds more pixels than its header says",
            fix="check Rows, Columns, NumberOfFrames and BitsAllocated, or export it again",
            code="data/contradiction",
        )


def _sign_notes(dataset: FileDataset, name: str) -> frozenset[str]:
    """What is said of JPEG 2000 data of another sign than the header (PS3.5 8.2.4).

    Writers that take signed values for unsigned ones keep their bits, so the header is right. In
    the other case either may be.

    Raises:
        RefusedError: The data are signed and the header says unsigned.
    """
    if dataset.file_meta.TransferSyntaxUID not in JPEG2000TransferSyntaxes:
        return frozenset()
    frames = int(dataset.get("NumberOfFrames") or 1)
    codestream = next(generate_frames(dataset.PixelData, number_of_frames=frames))
    stream_signed = get_j2k_parameters(codestream).get("is_signed")
    if stream_signed is None or stream_signed == (dataset.PixelRepresentation == 1):
        return frozenset()
    if stream_signed:
        raise RefusedError(
            f"the JPEG 2000 data of file {name} hold signed values and the header says unsigned",
            fix="export the series again, uncompressed",
            code="data/contradiction",
        )
    return frozenset({J2K_SIGN})


def _check_decoder(syntax: UID, name: str) -> None:
    register()
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise RefusedError(
            f"file {name} is in a transfer syntax that pydicom does not know",
            fix="convert the series to Explicit VR Little Endian (gdcmconv --raw)",
            code="data/no-decoder",
        ) from None
    if not decoder.is_available:
        raise RefusedError(
            f"no decoder is installed for file {name} ({syntax.name})",
            fix="pip install imagecodecs for JPEG Lossless, pylibjpeg pylibjpeg-openjpeg for HTJ2K;"
            " or decompress the series (gdcmconv --raw)",
            code="data/no-decoder",
        )


def _to_hounsfield(
    dataset: FileDataset, raw_FHW: np.ndarray, slices: Sequence[Slice]
) -> tuple[list[np.ndarray], frozenset[str]]:
    bits, is_signed = int(dataset.BitsStored), dataset.PixelRepresentation == 1
    notes, images = set(), []
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        notes.add(MONOCHROME1)
    for one in slices:
        raw_HW = raw_FHW[one.frame].astype(np.int64)
        stored_HW = _low_bits(raw_HW, bits=bits, is_signed=is_signed)
        padded_HW = _padding(dataset, raw_HW, stored_HW)
        if np.any((stored_HW != raw_HW) & ~padded_HW):
            if bits < _LEAST_BITS:
                raise RefusedError(
                    f"BitsStored of file {one.source.token} is {bits}, and its pixels need more",
                    fix=_AGAIN,
                    code="data/contradiction",
                )
            notes.add(UNUSED_BITS)
        slope, intercept = one.slope or 0.0, one.intercept or 0.0  # check_series saw both
        hu_HW = (stored_HW * slope + intercept).astype(np.float32)
        if np.any(hu_HW[padded_HW] != AIR_HU):
            notes.add(PADDING)
            hu_HW[padded_HW] = AIR_HU
        if not np.isfinite(hu_HW).all():
            raise RefusedError(
                f"the values of file {one.source.token} overflow",
                fix=_AGAIN,
                code="data/not-hounsfield",
            )
        images.append(hu_HW)
    return images, frozenset(notes)


def _low_bits(values: np.ndarray, *, bits: int, is_signed: bool) -> np.ndarray:
    low: np.ndarray = values & ((1 << bits) - 1)
    return np.where(low >> (bits - 1) == 1, low - (1 << bits), low) if is_signed else low


def _padding(dataset: FileDataset, raw_HW: np.ndarray, stored_HW: np.ndarray) -> np.ndarray:
    """(H, W) bool: which voxels are padding.

    Makers write padding beyond BitsStored, and as a number of the other sign, so the whole
    allocated bits are compared too.
    """
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return np.zeros(raw_HW.shape, dtype=bool)
    limit = dataset.get("PixelPaddingRangeLimit")
    same: np.ndarray = (raw_HW - int(value)) % (1 << int(dataset.BitsAllocated)) == 0
    low, high = sorted((int(value), int(value if limit is None else limit)))
    padded: np.ndarray = same | ((stored_HW >= low) & (stored_HW <= high))
    return padded


def resample(hu_NHW: np.ndarray, plan: Plan) -> np.ndarray:
    """(D, H, W) float32: the slices moved in their planes and interpolated along the normal.

    What a moved slice does not cover is air, -1024 HU. Both interpolations are linear.
    """
    if plan.shift_N2.any() or hu_NHW.shape[1:] != plan.matrix:
        hu_NHW = np.stack(
            [
                _move(hu_HW, shift_2, plan.matrix)
                for hu_HW, shift_2 in zip(hu_NHW, plan.shift_N2, strict=True)
            ]
        )
    if len(plan.lower_D) == len(hu_NHW) and not plan.weight_D.any():
        return hu_NHW
    upper_D = np.minimum(plan.lower_D + 1, len(hu_NHW) - 1)
    volume_DHW = np.empty((len(plan.lower_D), *hu_NHW.shape[1:]), dtype=np.float32)
    for index, (lower, upper, weight) in enumerate(
        zip(plan.lower_D, upper_D, plan.weight_D.astype(np.float32), strict=True)
    ):
        volume_DHW[index] = (1 - weight) * hu_NHW[lower] + weight * hu_NHW[upper]
    return volume_DHW


def _move(hu_HW: np.ndarray, shift_2: np.ndarray, matrix: tuple[int, int]) -> np.ndarray:
    """One slice moved towards higher h and w by a fraction of pixels, on a larger matrix."""
    moved = hu_HW
    for axis in (0, 1):
        whole = int(np.floor(shift_2[axis] + 1e-6))
        part = np.float32(max(shift_2[axis] - whole, 0))
        length = moved.shape[axis]
        padding = [(0, 0), (0, 0)]
        padding[axis] = (whole + 1, max(matrix[axis] - length - whole, 0))
        wide = np.pad(moved, padding, constant_values=AIR_HU)
        here = np.take(wide, range(1, matrix[axis] + 1), axis=axis)
        before = np.take(wide, range(matrix[axis]), axis=axis)
        moved = ((1 - part) * here + part * before).astype(np.float32)
    return moved

"""Bits of stored pixels that hold no part of a pixel (PS3.5 8.1.1).

Older files keep graphics in them, such as burned-in names as an overlay (PS3.5 8.1.2, retired).
Of uncompressed pixels they are made what the standard leaves to a writer: 0, or the sign. Voxels
of PixelPaddingValue stay as they are, as makers write that beyond BitsStored.
"""

from __future__ import annotations

import numpy as np
import pydicom
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID, ExplicitVRBigEndian

from moekit import DataError
from moekit_medical.dicom.lossless import register
from moekit_medical.findings.quiet import READ_ERRORS

_DTYPES = {8: "u1", 16: "u2", 32: "u4"}
_BIT_POSITION = 0x0102


def clear_unused_bits(copy: pydicom.Dataset, original: pydicom.Dataset) -> None:
    """Clears the bits of the pixels of a copy.

    Args:
        copy: Its PixelData are replaced if bits must be cleared.
        original: The image that it was made from.

    Raises:
        DataError: Compressed pixels hold such bits, or may: they cannot be cleared here.
    """
    if _layout(original) is None or "PixelData" not in copy:
        return
    syntax = _syntax(original)
    if syntax is not None and syntax.is_encapsulated:
        if _hold_bits(original):
            raise DataError(
                "compressed pixels have something in bits that hold no part of a pixel",
                whose="an image to de-identify",
                fix="decompress the image and clean its pixels, or leave it out",
                code="data/unused-bits",
            )
        return
    is_big = syntax == ExplicitVRBigEndian
    dtype = np.dtype(_DTYPES[int(original.BitsAllocated)]).newbyteorder(">" if is_big else "<")
    data = bytes(copy.PixelData)
    whole = len(data) // dtype.itemsize * dtype.itemsize
    stored_N = np.frombuffer(data[:whole], dtype)
    clean_N = _cleaned(stored_N, original)
    if not np.array_equal(clean_N, stored_N):
        vr = copy["PixelData"].VR
        copy.PixelData = clean_N.astype(dtype).tobytes() + data[whole:]
        copy["PixelData"].VR = vr


def are_unseen(image: pydicom.Dataset) -> bool:
    """Whether compressed pixels may have such bits, and cannot be looked at."""
    syntax = _syntax(image)
    is_compressed = syntax is not None and syntax.is_encapsulated and "PixelData" in image
    return is_compressed and _layout(image) is not None and _hold_bits(image) is None


def _syntax(image: pydicom.Dataset) -> UID | None:
    meta = getattr(image, "file_meta", None) or pydicom.Dataset()
    syntax: UID | None = meta.get("TransferSyntaxUID")
    return syntax


def _layout(image: pydicom.Dataset) -> tuple[int, int, int] | None:
    """BitsAllocated, BitsStored and HighBit if bits are left over, else None."""
    try:
        allocated = int(image.BitsAllocated)
        stored = int(image.BitsStored)
        high = int(image.get("HighBit", stored - 1))
    except (*READ_ERRORS, TypeError):
        return None
    if (
        allocated not in _DTYPES
        or not 0 < stored < allocated
        or not stored <= high + 1 <= allocated
    ):
        return None
    return allocated, stored, high


def _cleaned(stored_N: np.ndarray, image: pydicom.Dataset) -> np.ndarray:
    """The values with their own bits only, in unsigned numbers of the same size."""
    layout = _layout(image)
    assert layout is not None
    allocated, stored, high = layout
    low = high + 1 - stored
    everything = (1 << allocated) - 1
    own = ((1 << stored) - 1) << low
    value_N = stored_N.astype(np.uint64)
    clean_N = value_N & np.uint64(own)
    if int(image.get("PixelRepresentation") or 0) == 1:
        is_negative_N = (value_N >> np.uint64(high)) & np.uint64(1) == 1
        above = np.uint64(everything & ~((1 << (high + 1)) - 1))
        is_short_N = is_negative_N & (value_N & above == 0)  # the sign is not repeated, as it may
        clean_N[is_negative_N & ~is_short_N] |= above
    padding = image.get("PixelPaddingValue")
    if isinstance(padding, int):
        is_padding_N = value_N == np.uint64(padding & everything)
        clean_N[is_padding_N] = value_N[is_padding_N]
    return clean_N


def _hold_bits(image: pydicom.Dataset) -> bool | None:
    """Whether compressed pixels have more than their own bits; None if that cannot be seen."""
    if any(
        tag.group & 0xFF01 == 0x6000 and tag.element == _BIT_POSITION and image[tag].value
        for tag in image.keys()  # noqa: SIM118 - tags only
    ):
        return True
    register()
    try:
        decoder = get_decoder(image.file_meta.TransferSyntaxUID)
        options = {"correct_unused_bits": False}
        for frame, _ in decoder.iter_array(image, raw=True, **options):  # type: ignore[arg-type]
            if frame.dtype.itemsize * 8 != int(image.BitsAllocated):
                return False  # the codec has as many bits as the pixels
            stored = frame.view(f"u{frame.dtype.itemsize}")
            if not np.array_equal(_cleaned(stored, image), stored):
                return True
    except Exception:  # no decoder, or a damaged stream
        return None
    return False

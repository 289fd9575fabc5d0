"""Reads DICOM files with pydicom so that no file can stop, flood or betray the caller.

Whatever pydicom raises becomes a reason made of fixed words: its own messages hold values and
paths. Its warnings and log lines are kept in for the same reason.
"""

from __future__ import annotations

import io
import zlib
from contextlib import AbstractContextManager
from typing import IO, cast

import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from moekit_medical.dicom.sources import MAX_FILE_BYTES, MAX_RATIO, RATIO_FREE_BYTES, Source
from moekit_medical.dicom.verdict import SetAsideError
from moekit_medical.silence import silenced

_PREAMBLE = 128
_BARE_STARTS = (b"\x08\x00", b"\x02\x00", b"\x00\x08")
"""Groups 0008 and 0002, little and big endian: how a data set without a preamble begins."""

_GZIP = b"\x1f\x8b"

_WORDS: dict[type[BaseException], str] = {
    RecursionError: "its sequences are nested too deeply",
    MemoryError: "it needs more memory than there is",
    EOFError: "it ends too early",
}


def quiet() -> AbstractContextManager[None]:
    """Keeps in what pydicom and its decoders warn of and log."""
    return silenced("pydicom")


def describe(error: BaseException) -> str:
    """Why a file could not be read, in words that hold nothing of the file."""
    return _WORDS.get(type(error), f"its content is malformed ({type(error).__name__})")


def read(source: Source, *, pixels: bool) -> FileDataset:
    """One data set; call it and use its result inside `quiet`.

    A file without preamble is accepted if it begins with group 0002 or 0008 and states a
    storage class that DICOM knows (PS3.6 annex A).

    Args:
        source: The file.
        pixels: Whether to read the pixel data too.

    Raises:
        SetAsideError: It is not DICOM, too large or unreadable.
    """
    try:
        with source.open() as file:
            return _read(file, pixels=pixels)
    except SetAsideError:
        raise
    except Exception as error:
        raise SetAsideError(f"unreadable: {describe(error)}") from None


def _read(file: IO[bytes], *, pixels: bool) -> FileDataset:
    head = file.read(_PREAMBLE + 4)
    size = file.seek(0, io.SEEK_END)
    if size == 0:
        raise SetAsideError("an empty file")
    if head.startswith(b"PK\x03\x04"):
        raise SetAsideError("an archive inside an archive; unpack it first")
    if head.startswith(_GZIP):
        raise SetAsideError("compressed by gzip (.gz); unpack it first")
    has_preamble = head.endswith(b"DICM")
    if not has_preamble and not head.startswith(_BARE_STARTS):
        raise SetAsideError("not DICOM")
    if size > MAX_FILE_BYTES:
        raise SetAsideError("too large: more than 1 GiB in one file")
    meta = _read_meta(file, start=_PREAMBLE + 4 if has_preamble else 0)
    if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        dataset = _read_deflated(file, meta, pixels=pixels)
    else:
        file.seek(0)
        dataset = pydicom.dcmread(
            file,
            stop_before_pixels=not pixels,
            force=not has_preamble,
        )
    if not has_preamble and UID(str(dataset.get("SOPClassUID", ""))).type != "SOP Class":
        raise SetAsideError("not DICOM")
    _state_encoding(dataset)
    return dataset


def _read_meta(file: IO[bytes], *, start: int) -> FileMetaDataset:
    """File meta information (PS3.10 7.1); leaves `file` where it ends."""
    file.seek(start)
    meta = read_dataset(
        cast(io.BufferedReader, file),
        is_implicit_VR=False,
        is_little_endian=True,
        stop_when=lambda tag, _vr, _length: tag.group != 2,
    )
    for _ in meta:
        pass  # decodes each element, and raises here if one is malformed
    return FileMetaDataset(meta)


def _read_deflated(file: IO[bytes], meta: FileMetaDataset, *, pixels: bool) -> FileDataset:
    """A deflated data set (PS3.5 A.5), inflated within bounds; pydicom's own way knows none."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    packed = file.read()
    most = min(MAX_FILE_BYTES, max(RATIO_FREE_BYTES, MAX_RATIO * len(packed)))
    plain = inflater.decompress(packed, most)
    if inflater.unconsumed_tail and most == MAX_FILE_BYTES:
        raise SetAsideError("too large: more than 1 GiB when inflated")
    if inflater.unconsumed_tail:
        raise SetAsideError(f"inflates to more than {MAX_RATIO} times its size; it may be a trap")
    if not inflater.eof:
        raise EOFError
    elements = read_dataset(
        io.BytesIO(plain),
        is_implicit_VR=False,
        is_little_endian=True,
        stop_when=None if pixels else _at_pixels,
    )
    return FileDataset(io.BytesIO(), elements, file_meta=meta, is_implicit_VR=False)


def _at_pixels(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return tag.group == 0x7FE0


def _state_encoding(dataset: FileDataset) -> None:
    """Gives a data set without file meta information the transfer syntax it was found to have."""
    if "TransferSyntaxUID" in dataset.file_meta:
        return
    is_implicit, is_little = dataset.original_encoding
    if not is_little:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    elif is_implicit:
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    else:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian

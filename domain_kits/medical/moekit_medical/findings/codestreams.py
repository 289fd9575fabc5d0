"""Texts in the headers of compressed pixels, which no decoder needs.

A JPEG or JPEG-LS stream may hold comments and application data, such as EXIF with a name (ISO/IEC
10918-1 B.2.4), a JPEG 2000 stream comments (ISO/IEC 15444-1 A.9.2). Anything may follow the end of
a stream, and fragments may follow those of the last frame. All of them go; no pixel changes.
"""

from __future__ import annotations

import pydicom
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import UID

from moekit_medical.findings.quiet import READ_ERRORS

_JPEG, _JPEG_2000 = b"\xff\xd8", b"\xff\x4f"
_END, _SCAN, _COMMENT = 0xD9, 0xDA, 0xFE
_TILE, _J2K_COMMENT = 0x90, 0x64
_KEPT = {0xE0: (b"JFIF\0", 16), 0xE8: (b"mrfx", 7), 0xEE: (b"Adobe", 14)}
"""Application data that say how colours are coded: how they begin, and their length."""

_SHORT = 2**32 - 1
"""Bytes that offsets of 32 bits reach."""


def clear_codestreams(copy: pydicom.Dataset, original: pydicom.Dataset) -> None:
    """Removes the texts from the compressed pixels of a copy; others stay as they are.

    Args:
        copy: Its PixelData are replaced if there is something to remove.
        original: The image that it was made from.
    """
    meta = getattr(original, "file_meta", None) or pydicom.Dataset()
    syntax: UID | None = meta.get("TransferSyntaxUID")
    if syntax is None or not syntax.is_encapsulated or "PixelData" not in copy:
        return
    try:
        count = int(original.get("NumberOfFrames") or 1)
        frames = list(generate_frames(copy.PixelData, number_of_frames=count))
    except (*READ_ERRORS, TypeError):  # of no frames, which `unused_bits` warns of
        return
    if len(frames) < count:
        return
    clean = [without_texts(frame) for frame in frames[:count]]
    if clean == frames:
        return
    vr = copy["PixelData"].VR
    has_offsets = sum(map(len, clean)) + 16 * count < _SHORT
    copy.PixelData = encapsulate(clean, has_bot=has_offsets)
    copy["PixelData"].VR = vr
    copy["PixelData"].is_undefined_length = True


def without_texts(stream: bytes) -> bytes:
    """A JPEG, JPEG-LS or JPEG 2000 stream without texts; any other one as it is."""
    if stream.startswith(_JPEG):
        kept = _jpeg(stream)
    elif stream.startswith(_JPEG_2000):
        kept = _jpeg_2000(stream)
    else:
        return stream
    return stream if kept is None or len(stream) - len(kept) <= len(kept) % 2 else kept


def _jpeg(stream: bytes) -> bytes | None:
    """What a decoder needs of a stream; None if its markers cannot be followed."""
    kept, at = bytearray(_JPEG), 2
    while at + 2 <= len(stream):
        marker = stream[at + 1]
        if stream[at] != 0xFF:
            return None
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker == _END:
            return bytes(kept + stream[at : at + 2])
        end = at + 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
        if end < at + 4 or end > len(stream):
            return None
        segment = stream[at:end]
        if not _is_text(marker, segment):
            kept += segment
        at = end
        if marker == _SCAN:
            at = _after_scan(stream, end)
            kept += stream[end:at]
    return None


def _is_text(marker: int, segment: bytes) -> bool:
    if marker in _KEPT:
        begin, length = _KEPT[marker]
        return segment[4 : 4 + len(begin)] != begin or len(segment) != length + 2
    return marker == _COMMENT or 0xE0 <= marker <= 0xEF


def _after_scan(stream: bytes, at: int) -> int:
    """Where the coded data end that begin at a place: at the next marker that is no restart.

    Zero follows a coded FF in JPEG, and a byte below 80 in JPEG-LS.
    """
    while True:
        at = stream.find(b"\xff", at)
        if at < 0 or at + 1 >= len(stream):
            return len(stream)
        marker = stream[at + 1]
        if marker >= 0xC0 and not 0xD0 <= marker <= 0xD7 and marker != 0xFF:
            return at
        at += 1


def _jpeg_2000(stream: bytes) -> bytes | None:
    """The same of a JPEG 2000 codestream; only the main header is looked into."""
    end = stream.rfind(bytes((0xFF, _END)))
    if end < 0:
        return None
    kept, at = bytearray(_JPEG_2000), 2
    while at + 4 <= end:
        if stream[at] != 0xFF:
            return None
        marker = stream[at + 1]
        if marker == _TILE:
            return bytes(kept + stream[at : end + 2])
        after = at + 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
        if after < at + 4:
            return None
        if marker != _J2K_COMMENT:
            kept += stream[at:after]
        at = after
    return None

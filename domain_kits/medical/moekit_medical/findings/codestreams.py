"""What compressed pixels hold that no decoder needs.

A JPEG or JPEG-LS stream may hold comments and application data, such as EXIF with a name (ISO/IEC
10918-1 B.2.4); see `jpeg_2000` and `rle_segments` for the others. Anything may follow the end of a
stream, and fragments may follow those of the last frame. All of them go; no pixel changes. What
lies within coded data, where only a decoder can tell it from pixels, is not looked for.
"""

from __future__ import annotations

import pydicom
from pydicom.encaps import encapsulate, generate_fragments, generate_frames, parse_basic_offsets
from pydicom.uid import UID, RLELossless

from moekit_medical.findings import jpeg_2000
from moekit_medical.findings.quiet import READ_ERRORS
from moekit_medical.findings.rle_segments import only_pixels

_JPEG = b"\xff\xd8"
_END, _SCAN, _COMMENT = 0xD9, 0xDA, 0xFE
_KEPT = {0xE0: (b"JFIF\0", 16), 0xE8: (b"mrfx", 7), 0xEE: (b"Adobe", 14)}
"""Application data that say how colours are coded: how they begin, and their length."""

_SHORT = 2**32 - 1
"""Bytes that offsets of 32 bits reach."""
_NO_MORE = (b"", b"\xfe\xff\xdd\xe0\0\0\0\0")
"""What may follow the last fragment: nothing, or the item that says so."""


def clear_codestreams(copy: pydicom.Dataset, original: pydicom.Dataset) -> bool:
    """Removes the texts from the compressed pixels of a copy; others stay as they are.

    Args:
        copy: Its PixelData are replaced if there is something to remove.
        original: The image that it was made from.

    Returns:
        Whether each frame could be followed; what lies next to the pixels of others stays.
    """
    syntax = _syntax(original)
    if syntax is None or not syntax.is_encapsulated or "PixelData" not in copy:
        return True
    try:
        count = int(original.get("NumberOfFrames") or 1)
        frames = list(generate_frames(copy.PixelData, number_of_frames=count))
        is_bare = _has_frames_only(copy.PixelData)
        layout = _layout(original) if syntax == RLELossless else None
    except (*READ_ERRORS, TypeError):
        return False
    if len(frames) < count:
        return False
    found = [_followed(frame, layout) for frame in frames[:count]]
    clean = [_or_as_it_is(kept, frame) for kept, frame in zip(found, frames, strict=False)]
    if clean != frames or not is_bare:
        vr = copy["PixelData"].VR
        has_offsets = sum(map(len, clean)) + 16 * count < _SHORT
        copy.PixelData = encapsulate(clean, has_bot=has_offsets)
        copy["PixelData"].VR = vr
        copy["PixelData"].is_undefined_length = True
    return None not in found


def _syntax(image: pydicom.Dataset) -> UID | None:
    meta = getattr(image, "file_meta", None) or pydicom.Dataset()
    syntax: UID | None = meta.get("TransferSyntaxUID")
    return syntax


def _layout(image: pydicom.Dataset) -> tuple[int, int]:
    """Segments of an RLE frame, and bytes of each."""
    samples = int(image.get("SamplesPerPixel") or 1)
    return samples * int(image.BitsAllocated) // 8, int(image.Rows) * int(image.Columns)


def _has_frames_only(data: bytes) -> bool:
    """Whether the items hold all there is, and their table only offsets of fragments."""
    offsets = parse_basic_offsets(data)
    begin, end = 8 + 4 * len(offsets), 0
    places = set()
    for fragment in generate_fragments(data[begin:]):
        places.add(end)
        end += 8 + len(fragment)
    return data[begin + end :] in _NO_MORE and places >= set(offsets)


def _followed(frame: bytes, layout: tuple[int, int] | None) -> bytes | None:
    """What a decoder needs of a frame; None if it cannot be followed."""
    if layout is not None:
        segments, pixels = layout
        return only_pixels(frame, segments=segments, pixels=pixels)
    if frame.startswith(_JPEG):
        return _jpeg(frame)
    if frame.startswith((jpeg_2000.START, jpeg_2000.SIGNATURE)):
        return jpeg_2000.without_comments(frame)
    return None


def without_texts(stream: bytes) -> bytes:
    """A JPEG, JPEG-LS or JPEG 2000 stream without texts; any other one as it is."""
    return _or_as_it_is(_followed(stream, None), stream)


def _or_as_it_is(kept: bytes | None, frame: bytes) -> bytes:
    """A frame as it is if it cannot be followed, or if only the byte that makes it even goes."""
    if kept is None or (frame.startswith(kept) and len(frame) - len(kept) <= len(kept) % 2):
        return frame
    return kept


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

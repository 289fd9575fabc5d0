"""What `--camera NAME=SOURCE` names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from moekit.errors import UsageError
from moekit.serve.libraries import check_libraries
from moekit.serve.streams.sources import FolderSource, Source, VideoSource

MOST_CAMERAS = 16
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_ADDRESS = re.compile(r"(rtsps?|rtmps?|https?|srt|udp|tcp)://.+")


def named_sources(given: Sequence[str], *, most_bytes: int, most_pixels: int) -> dict[str, Source]:
    """Cameras by name.

    Args:
        given: Each as `NAME=SOURCE`. The source is a folder, a video file, a device below /dev, or
            the address of a stream, such as `rtsp://HOST/PATH`.
        most_bytes: Most bytes of an image file.
        most_pixels: Most pixels of a frame.

    Raises:
        UsageError: A name is odd or is there twice, there are too many, a source is none of these,
            or PyAV is not installed and needed.
    """
    found: dict[str, Source] = {}
    for text in given:
        name, _, address = text.partition("=")
        if not _NAME.fullmatch(name) or name in found:
            raise UsageError(
                f"the camera {name[:80]!r} is there twice"
                if name in found
                else f"{name[:80]!r} is no name of a camera",
                whose="--camera",
                fix="write NAME=SOURCE, each NAME once, of letters, digits, '-', '_' and '.'",
                code="usage/bad-camera",
            )
        found[name] = _source(name, address, most_bytes=most_bytes, most_pixels=most_pixels)
    if len(found) > MOST_CAMERAS:
        raise UsageError(
            f"there are {len(found)} cameras, at most {MOST_CAMERAS} are answered by one server",
            whose="--camera",
            fix="start a further server for the others",
            code="usage/too-many-cameras",
        )
    if any(isinstance(one, VideoSource) for one in found.values()):
        check_libraries(("av",), extra="streams")
    return found


def _source(name: str, address: str, *, most_bytes: int, most_pixels: int) -> Source:
    path = Path(address)
    if _ADDRESS.fullmatch(address):
        return VideoSource(address=address, kind="stream", most_pixels=most_pixels)
    if address.startswith("/dev/"):
        return VideoSource(address=address, kind="device", most_pixels=most_pixels)
    if address and path.is_dir():
        return FolderSource(folder=path, most_bytes=most_bytes)
    if address and path.is_file():
        return VideoSource(address=str(path.resolve()), kind="file", most_pixels=most_pixels)
    raise UsageError(
        f"the source of the camera {name} is no folder, file, device or address of a stream",
        whose="--camera",
        fix="check it; a stream begins with its protocol, such as rtsp://",
        code="usage/bad-camera",
    )

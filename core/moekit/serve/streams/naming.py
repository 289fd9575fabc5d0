"""What `--camera NAME=SOURCE` names."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from moekit.errors import UsageError
from moekit.serve.libraries import check_libraries
from moekit.serve.streams.sources import FolderSource, Source, VideoSource

MOST_CAMERAS = 16
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_DEVICE = {
    "size": ("video_size", re.compile(r"[1-9]\d{0,4}x[1-9]\d{0,4}")),
    "rate": ("framerate", re.compile(r"[1-9]\d{0,5}(/[1-9]\d{0,5}|\.\d{1,3})?")),
    "format": ("input_format", re.compile(r"[a-z0-9_]{1,20}")),
}
"""Options behind a device: what FFmpeg calls them, and what they may be."""
_ADDRESS = re.compile(r"(rtsps?|rtmps?|https?|srt|udp|tcp)://.+")


def named_sources(given: Sequence[str], *, most_bytes: int, most_pixels: int) -> dict[str, Source]:
    """Cameras by name.

    Args:
        given: Each as `NAME=SOURCE`. The source is a folder, a video file, a device below /dev, or
            the address of a stream, such as `rtsp://HOST/PATH`. Behind a device may stand its size,
            rate and format: `/dev/video0?size=1280x720&rate=30&format=mjpeg`.
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


def named_kits(
    given: Sequence[str], *, cameras: Collection[str], kits: Collection[str]
) -> dict[str, tuple[str, ...]]:
    """Which kits answer a camera, by its name; cameras that are not named are answered by all.

    Args:
        given: Each as `NAME=KIT[,KIT...]`.
        cameras: Names of the cameras.
        kits: Names of the served kits.

    Raises:
        UsageError: A camera or a kit is unknown, or a camera is there twice.
    """
    found: dict[str, tuple[str, ...]] = {}
    for text in given:
        name, _, listed = text.partition("=")
        asked = {one.strip() for one in listed.split(",")}
        unknown = sorted(asked - set(kits))
        if name not in cameras or name in found or unknown:
            raise UsageError(
                f"no kit is called {unknown[0]!r}"
                if unknown
                else f"the camera {name[:80]!r} is there twice, or is none of --camera",
                whose="--camera-kit",
                fix=f"write NAME=KIT,KIT with cameras ({', '.join(cameras) or 'none'}) and kits "
                f"({', '.join(kits)})",
                code="usage/bad-camera",
            )
        found[name] = tuple(one for one in kits if one in asked)
    return found


def _device(name: str, address: str, *, most_pixels: int) -> VideoSource:
    path, _, text = address.partition("?")
    options: dict[str, str] = {}
    for part in filter(None, text.split("&")):
        key, _, value = part.partition("=")
        if key not in _DEVICE or not _DEVICE[key][1].fullmatch(value):
            raise UsageError(
                f"the option {part[:40]!r} of the camera {name} cannot be used",
                whose="--camera",
                fix="write /dev/videoN?size=1280x720&rate=30&format=mjpeg, or less of it",
                code="usage/bad-camera",
            )
        options[_DEVICE[key][0]] = value
    return VideoSource(address=path, kind="device", most_pixels=most_pixels, options=options)


def _source(name: str, address: str, *, most_bytes: int, most_pixels: int) -> Source:
    path = Path(address)
    if _ADDRESS.fullmatch(address):
        return VideoSource(address=address, kind="stream", most_pixels=most_pixels)
    if address.startswith("/dev/"):
        return _device(name, address, most_pixels=most_pixels)
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

"""Where frames come from: a folder that is watched, or anything that PyAV opens."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from PIL import Image

from moekit.errors import DataError
from moekit.files import read_plain
from moekit.prediction.watch.feed import POLL
from moekit.prediction.watch.source import Arrivals
from moekit.serve.reading import Sent

Kind = Literal["folder", "file", "stream", "device"]
_SETTLE_S = 0.2
_TRIES = 5
_PATIENCE_S = 10.0
_LATE_S = 1.0
"""A file that is played so much too late goes on from there, and does not hurry."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grabbed:
    """A frame as it came.

    Attributes:
        at: When it was there, by `time.monotonic`.
        load: Reads it: the bytes of an image file, or an RGB picture. Those that nobody takes are
            never read.
    """

    at: float
    load: Callable[[], Sent]


class Source(Protocol):
    """Gives frames.

    Attributes:
        kind: What it is.
    """

    @property
    def kind(self) -> Kind:
        """What it is."""
        ...

    def frames(self, stop: threading.Event) -> Iterator[Grabbed]:
        """Opens it and yields frames as they come, until `stop` is set.

        It ends by itself only if there can be no more frames.

        Raises:
            DataError: It cannot be opened or read. The error does not name its address, which may
                hold a password.
        """
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class FolderSource:
    """Image files that arrive in a folder, at any depth; those that are there already come first.

    Attributes:
        folder: The folder.
        most_bytes: Most bytes of a file.
        kind: "folder".
    """

    folder: Path
    most_bytes: int
    kind: Kind = "folder"

    def frames(self, stop: threading.Event) -> Iterator[Grabbed]:
        """See `Source`. A file is a frame once it has not changed for a moment."""
        arrivals = Arrivals(self.folder, seen=(), settle=_SETTLE_S, tries=_TRIES)
        while not stop.is_set():
            began = time.monotonic()
            for one in arrivals.scan():
                load = functools.partial(read_plain, one.path, most=self.most_bytes)
                yield Grabbed(at=one.whole_at, load=load)
            if arrivals.trouble:
                raise DataError(
                    "the folder cannot be listed",
                    whose=str(self.folder),
                    fix="check that it is there and may be read",
                    code="data/unreadable",
                )
            stop.wait(max(POLL, 4 * (time.monotonic() - began)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class VideoSource:
    """Frames that PyAV decodes: a file at its own pace, a network stream, or a V4L device.

    Attributes:
        address: Path or address.
        kind: "file", "stream" or "device".
        most_pixels: Most pixels of a frame.
        options: Of the device, by the names that FFmpeg's `v4l2` has, such as `video_size`.
    """

    address: str
    kind: Kind
    most_pixels: int
    options: Mapping[str, str] = dataclasses.field(default_factory=dict, hash=False)

    def frames(self, stop: threading.Event) -> Iterator[Grabbed]:
        """See `Source`. Parts of a stream that are damaged are left out."""
        import av

        try:
            with contextlib.closing(self._opened()) as container:
                yield from self._decoded(container, stop)
        except (av.error.FFmpegError, OSError) as error:
            raise _unreadable(str(getattr(error, "strerror", "") or type(error).__name__)) from None
        if not stop.is_set() and self.kind != "file":
            raise _unreadable("it has ended")

    def _opened(self) -> Any:
        import av

        if self.kind == "device":
            how = dict(self.options)
            return av.open(self.address, format="v4l2", options=how, timeout=_PATIENCE_S)
        tcp = {"rtsp_transport": "tcp"} if self.address.startswith("rtsp") else {}
        return av.open(self.address, options=tcp, timeout=_PATIENCE_S)

    def _decoded(self, container: Any, stop: threading.Event) -> Iterator[Grabbed]:
        import av

        if not container.streams.video:
            raise _unreadable("there is no video in it")
        began: float | None = None
        for packet in container.demux(container.streams.video[0]):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                continue
            for frame in frames:
                if frame.width * frame.height > self.most_pixels:
                    raise _unreadable(f"a frame has {frame.width} x {frame.height} pixels")
                if self.kind == "file" and frame.time is not None:
                    began = time.monotonic() - frame.time if began is None else began
                    wait = began + frame.time - time.monotonic()
                    began = began - wait if wait < -_LATE_S else began
                    stop.wait(max(0.0, wait))
                if stop.is_set():
                    return
                yield Grabbed(at=time.monotonic(), load=functools.partial(_picture, frame))


def _picture(frame: Any) -> Image.Image:
    """A frame as an upright RGB picture."""
    picture: Image.Image = frame.to_image()
    # The turn that a player makes, in degrees against the clock.
    turn = round(getattr(frame, "rotation", 0)) % 360
    return picture.rotate(turn, expand=True) if turn else picture


def _unreadable(why: str) -> DataError:
    return DataError(
        f"the camera cannot be read ({why})",
        whose="the camera",
        fix="check that it is switched on and reachable; it is tried again",
        code="data/unreadable-camera",
    )

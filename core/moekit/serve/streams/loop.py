"""All cameras: one batch of their newest frames after the other, and who listens to the answers."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from moekit.serve.batching import Batcher, Ticket
from moekit.serve.extras import Extras
from moekit.serve.reading import Sent
from moekit.serve.service import Outcome
from moekit.serve.streams.camera import Camera
from moekit.serve.streams.sources import Grabbed, Source

_logger = logging.getLogger(__name__)
_READERS = 4
_IDLE_S = 0.5
_FULL_S = 0.05
_JOIN_S = 2.0
Taken = tuple[Camera, int, Grabbed]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Event:
    """A frame of a camera that was answered.

    Attributes:
        camera: Name of the camera.
        frame: Its number, from 1; numbers of one camera only rise.
        dropped: How many frames of the camera were dropped so far.
        latency_s: From frame to answer, in seconds.
        outcome: What the kits answer.
    """

    camera: str
    frame: int
    dropped: int
    latency_s: float
    outcome: Outcome


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Listener:
    """Who wants the answers of cameras.

    Attributes:
        cameras: Their names.
        overlays: Whether pictures are wanted.
        offer: Called with each event, and with None at the end; from any thread, and must not wait.
    """

    cameras: frozenset[str]
    overlays: bool
    offer: Callable[[Event | None], None]


class Streams:
    """Answers the newest frames of all cameras, batch by batch, through the server's queue.

    A thread takes what is new of all cameras at once, asks for it as one request and waits for the
    answers before it takes the next. So no camera has two frames under way, and none is answered
    out of order. Cameras that other kits answer make a request of their own.

    Args:
        sources: The cameras by name.
        batcher: Computes answers.
        kits: Names of the kits that answer.
        kits_of: Names of those that answer a camera, if not all do, by its name.
        within_s: Seconds after which an answer is too late.
        first_wait_s: As of `Camera`.
    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        *,
        batcher: Batcher,
        kits: Sequence[str],
        within_s: float,
        first_wait_s: float = 1.0,
        kits_of: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._news = threading.Event()
        self.cameras = [
            Camera(name, source, news=self._news.set, first_wait_s=first_wait_s)
            for name, source in sources.items()
        ]
        self._batcher = batcher
        self._kits_of = {name: tuple((kits_of or {}).get(name, kits)) for name in sources}
        self._within_s = within_s
        self._listeners: list[Listener] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._readers = concurrent.futures.ThreadPoolExecutor(_READERS, "moekit-frames")
        self._thread = threading.Thread(target=self._run, name="moekit-streams", daemon=True)

    def start(self) -> None:
        """Starts the threads; the batcher must have been started."""
        if self.cameras:
            self._thread.start()
        for camera in self.cameras:
            camera.start()

    def close(self) -> None:
        """Ends the threads and all listening."""
        self.end_events()
        for camera in self.cameras:
            camera.stop()
        self._news.set()
        if self._thread.ident is not None:
            self._thread.join()
        for camera in self.cameras:
            camera.join(_JOIN_S)
        self._readers.shutdown(wait=False, cancel_futures=True)

    def end_events(self) -> None:
        """Tells all who listen that there is no more, now and later."""
        with self._lock:
            self._stop.set()
            listeners = list(self._listeners)
        for one in listeners:
            one.offer(None)

    def kits_of(self, camera: str) -> tuple[str, ...]:
        """The kits that answer a camera."""
        return self._kits_of[camera]

    @property
    def listening(self) -> int:
        """How many listen."""
        return len(self._listeners)

    @contextlib.contextmanager
    def listen(self, listener: Listener) -> Iterator[None]:
        """Hands events to a listener until the block ends."""
        with self._lock:
            self._listeners.append(listener)
            over = self._stop.is_set()
        if over:
            listener.offer(None)
        try:
            yield
        finally:
            with self._lock:
                self._listeners.remove(listener)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._news.wait(_IDLE_S)
            self._news.clear()
            try:
                self._tick()
            except Exception:  # the thread goes on, whatever happens to one batch
                _logger.exception("a batch of frames failed")

    def _tick(self) -> None:
        taken = [
            (camera, *found) for camera in self.cameras if (found := camera.take()) is not None
        ]
        loaded = list(zip(taken, self._readers.map(_loaded, taken), strict=True))
        groups: dict[tuple[str, ...], list[tuple[Taken, Sent]]] = {}
        for one, image in loaded:
            if image is not None:
                groups.setdefault(self._kits_of[one[0].name], []).append((one, image))
        asked = [(self._asked(kits, going), going) for kits, going in groups.items()]
        if asked and all(ticket is None for ticket, _ in asked):
            self._stop.wait(_FULL_S)
        for ticket, going in asked:
            if ticket is not None:
                self._answered(ticket, going)

    def _asked(self, kits: tuple[str, ...], going: Sequence[tuple[Taken, Sent]]) -> Ticket | None:
        """The request for some frames; None if requests fill the queue."""
        names = frozenset(camera.name for (camera, _, _), _ in going)
        ticket = self._batcher.submit(
            kits,
            [image for _, image in going],
            within_s=self._within_s,
            extras=Extras(overlays=self._wants_overlays(names)),
        )
        if ticket is None:
            for (camera, _, _), _ in going:
                camera.count("dropped")
        return ticket

    def _answered(self, ticket: Ticket, going: Sequence[tuple[Taken, Sent]]) -> None:
        try:
            outcomes = ticket.future.result(self._within_s)
        except (Exception, concurrent.futures.CancelledError):
            self._batcher.drop(ticket, reason="deadline")
            for (camera, _, _), _ in going:
                camera.count("failed")
            return
        for (one, _), outcome in zip(going, outcomes, strict=True):
            self._publish(one, outcome)

    def _publish(self, one: Taken, outcome: Outcome) -> None:
        camera, number, grabbed = one
        latency = time.monotonic() - grabbed.at
        if outcome.rows:
            camera.count("answered", latency=latency)
        else:
            camera.count("failed")
        event = Event(
            camera=camera.name,
            frame=number,
            dropped=camera.counts["dropped"],
            latency_s=latency,
            outcome=outcome,
        )
        with self._lock:
            listeners = [one for one in self._listeners if camera.name in one.cameras]
        for listener in listeners:
            listener.offer(event)

    def _wants_overlays(self, names: frozenset[str]) -> bool:
        with self._lock:
            return any(one.overlays and names & one.cameras for one in self._listeners)


def _loaded(taken: Taken) -> Sent | None:
    camera, _, grabbed = taken
    try:
        return grabbed.load()
    except Exception as error:  # the file is gone again, or its frame is damaged
        camera.count("failed")
        _logger.warning("a frame of the camera %s is lost: %s", camera.name, type(error).__name__)
        return None


def camera_facts(streams: Streams) -> list[dict[str, Any]]:
    """What is known of each camera."""
    return [
        {**camera.as_json(), "kits": list(streams.kits_of(camera.name))}
        for camera in streams.cameras
    ]

"""One camera: a thread that keeps its newest frame, and what became of all others."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, Literal

from moekit.errors import MoekitError
from moekit.prediction.watch.latency import Durations
from moekit.serve.schema import fault_of
from moekit.serve.streams.sources import Grabbed, Source
from moekit.serve.unforeseen import unforeseen

Outcome = Literal["answered", "dropped", "failed"]
_logger = logging.getLogger(__name__)
_KEPT = 10_000
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 30.0


class Camera:
    """Reads a source in a thread of its own and holds its newest frame.

    A frame that comes before the last one was taken takes its place; the stale one is counted. A
    source that fails is tried again after 1 s, then after twice as long each time, at most 30 s.

    Args:
        name: What it is called.
        source: Gives frames.
        news: Called when there is something to take.
        first_wait_s: Seconds until the first new try.

    Attributes:
        name: What it is called.
        seen: How many frames came.
        counts: How many of them were "answered", "dropped" (stale, or without room in the server's
            queue) and "failed" (could not be read or answered).
        retries: How often the source failed and was tried again.
        state: "starting", "running", "failed" or "ended".
        fault: Why it failed last, while it is failed.
    """

    def __init__(
        self,
        name: str,
        source: Source,
        *,
        news: Callable[[], None],
        first_wait_s: float = _FIRST_WAIT_S,
    ) -> None:
        self.name = name
        self.seen = self.retries = 0
        self.counts = {"answered": 0, "dropped": 0, "failed": 0}
        self.state = "starting"
        self.fault: MoekitError | None = None
        self._source = source
        self._news = news
        self._first_wait_s = first_wait_s
        self._latency = Durations(kept=_KEPT)
        self._newest: tuple[int, Grabbed] | None = None
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"moekit-{name}", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread, which may be some seconds late if the source hangs; it is a daemon."""
        self._stop.set()

    def join(self, timeout: float) -> None:
        """Waits for the thread's end, for some seconds at most."""
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def take(self) -> tuple[int, Grabbed] | None:
        """The newest frame that was not taken, and its number from 1; None if there is none."""
        with self._lock:
            taken, self._newest = self._newest, None
        return taken

    def count(self, outcome: Outcome, *, latency: float | None = None) -> None:
        """Counts what became of a frame.

        Args:
            outcome: What became of it.
            latency: Seconds from frame to answer, if it was answered.
        """
        with self._lock:
            self.counts[outcome] += 1
            if latency is not None:
                self._latency.add(latency)

    def latencies(self) -> tuple[dict[str, Any] | None, float]:
        """Percentiles of the last latencies, as of `Durations`, and the sum of all, in seconds."""
        with self._lock:
            return self._latency.as_json(), self._latency.total

    def as_json(self) -> dict[str, Any]:
        """What is known of it, as `Camera` of the interface describes it."""
        return {
            "name": self.name,
            "kind": self._source.kind,
            "state": self.state,
            "error": None if self.fault is None else fault_of(self.fault),
            "frames": self.seen,
            **self.counts,
            "retries": self.retries,
            "latency_s": self.latencies()[0],
        }

    def _run(self) -> None:
        wait = self._first_wait_s
        while not self._stop.is_set():
            seen = self.seen
            try:
                for grabbed in self._source.frames(self._stop):
                    self._put(grabbed)
                if not self._stop.is_set():
                    self.state = "ended"
                return
            except MoekitError as error:
                self.fault = error
            except Exception as error:  # of a library
                self.fault = unforeseen(error, what="the camera cannot be read", whose="the camera")
            wait = self._first_wait_s if self.seen > seen else wait
            self.state = "failed"
            _logger.warning("the camera %s failed: %s", self.name, self.fault.what)
            self._stop.wait(wait)
            wait = min(2 * wait, _LONGEST_WAIT_S)
            self.retries += 1

    def _put(self, grabbed: Grabbed) -> None:
        with self._lock:
            self.seen += 1
            self.counts["dropped"] += self._newest is not None
            self._newest = (self.seen, grabbed)
        self.state, self.fault = "running", None
        self._news()

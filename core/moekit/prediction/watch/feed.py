"""Images read ahead of the scorer, in a thread of its own, behind a queue of bounded length."""

from __future__ import annotations

import collections
import dataclasses
import queue
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from moekit.data.content import Contents, stamp_of
from moekit.data.stream import ReadSample
from moekit.errors import ImageError
from moekit.prediction.watch.source import Arrival, Arrivals

POLL = 0.1
"""Least time between two looks at the folder, in seconds; a look takes a fifth of the time at
most."""

Read = Callable[[Path], ReadSample]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ready:
    """An image that is ready to be scored, or one that cannot be read.

    Attributes:
        name: Its name below the folder.
        whole_at: When its file was found to be whole, by the clock of `Arrivals`, in seconds.
        read: The image; None if it cannot be read.
        error: Why it cannot be read; empty otherwise.
        content: The hash of its file; empty if it is gone.
    """

    name: str
    whole_at: float
    read: ReadSample | None
    error: str
    content: str = ""


class Feed:
    """Looks at the folder, reads what is whole and waits while the queue is full.

    A file is known by its content: what has a row under its name as it is now is passed over. One
    of a known content and another name gets a row too, since whoever asks for it asks by its name.
    Files of earlier starts are compared when there is no new one.

    Used as a context, whose end stops the thread; what is in the queue then is lost from memory and
    is found again by the next start.

    Args:
        arrivals: The folder; from now on the thread's own.
        read: Reads one file.
        length: Most images in the queue.
        once: Whether to end when everything that is there was handed over.
        idle: After how many seconds without a new image to end; None for never.
        known: By name, the hash of the content that has a row, empty if it is not known.
        contents: Hashes files.

    Attributes:
        greatest: Greatest length that the queue had.
        greatest_backlog: Most whole files that waited outside the queue.
        full: How often the queue was full when an image was ready for it.
        full_seconds: For how long images that were ready waited for a place in the queue.
    """

    def __init__(
        self,
        arrivals: Arrivals,
        read: Read,
        *,
        length: int,
        once: bool,
        idle: float | None,
        known: Mapping[str, str] | None = None,
        contents: Contents | None = None,
    ) -> None:
        self._arrivals = arrivals
        self._read = read
        self._known = dict(known or {})
        self._contents = contents or Contents()
        self._earlier: collections.deque[Arrival] = collections.deque()
        self._once, self._idle = once, idle
        self._queue: queue.Queue[Ready] = queue.Queue(length)
        self._whole: collections.deque[Arrival] = collections.deque()
        self._stop, self._ended = threading.Event(), threading.Event()
        self._fault: BaseException | None = None
        self._next_scan = 0.0
        self._active_at = 0.0
        self._thread = threading.Thread(target=self._run, name="moekit-feed", daemon=True)
        self.greatest = self.greatest_backlog = self.full = 0
        self.full_seconds = 0.0

    def __enter__(self) -> Self:
        self._active_at = self._arrivals.clock()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def backlog(self) -> int:
        """How many whole files are not read yet."""
        return len(self._whole)

    @property
    def trouble(self) -> str:
        """Why the folder cannot be listed; empty if it can."""
        return self._arrivals.trouble

    @property
    def outputs(self) -> tuple[tuple[str, str], ...]:
        """Folders that moekit wrote and that are passed over, and what each is."""
        return self._arrivals.outputs

    @property
    def empty(self) -> bool:
        """Whether nothing is in the queue."""
        return self._queue.empty()

    def is_over(self) -> bool:
        """Whether the thread has ended and nothing is left to take.

        Raises:
            BaseException: Whatever ended the thread before its time.
        """
        over = self._ended.is_set() and self._queue.empty()
        if over and self._fault is not None:
            raise self._fault
        return over

    def take(self, most: int, *, timeout: float) -> list[Ready]:
        """What waits in the queue, at most that many; waits for the first of them alone.

        Args:
            most: Most images to take.
            timeout: For how long to wait for the first, in seconds.
        """
        taken: list[Ready] = []
        try:
            taken.append(self._queue.get(timeout=timeout))
            while len(taken) < most:
                taken.append(self._queue.get_nowait())
        except queue.Empty:
            pass
        return taken

    def _run(self) -> None:
        try:
            self._produce()
        except BaseException as error:
            self._fault = error
        finally:
            self._ended.set()

    def _produce(self) -> None:
        while not self._stop.is_set():
            if self._scan_if_due() and self._has_ended():
                return
            if waiting := self._whole or self._earlier:
                ready = self._ready(waiting.popleft())
                if ready is not None:
                    self._put(ready)
            else:
                self._stop.wait(max(0.0, self._next_scan - self._arrivals.clock()))

    def _scan_if_due(self) -> bool:
        began = self._arrivals.clock()
        if began < self._next_scan:
            return False
        for arrival in self._arrivals.scan():
            (self._earlier if arrival.earlier else self._whole).append(arrival)
        self.greatest_backlog = max(self.greatest_backlog, len(self._whole))
        now = self._arrivals.clock()
        if self._whole or self._earlier or self._arrivals.waiting:
            self._active_at = now
        self._next_scan = now + max(POLL, 4 * (now - began))
        return True

    def _has_ended(self) -> bool:
        if self._whole or self._earlier or self._arrivals.waiting:
            return False
        idle = self._arrivals.clock() - self._active_at
        return self._once or (self._idle is not None and idle >= self._idle)

    def _ready(self, arrival: Arrival) -> Ready | None:
        """The image; None if its file is waited for again, or has a row as it is."""
        known = self._known.get(arrival.name)
        if known and known == self._contents.of(arrival.path):
            return None
        read, reason = None, ""
        try:
            read = self._read(arrival.path)
        except ImageError as error:
            reason = error.what
        content = self._contents.of(arrival.path) if read is None else read.content
        changed = stamp_of(arrival.path) not in (arrival.mark, None)
        if (reason or changed) and self._arrivals.wait_again(arrival, reason):
            return None
        self._known[arrival.name] = content
        return Ready(
            name=arrival.name,
            whole_at=arrival.whole_at,
            read=read,
            error=reason,
            content=content,
        )

    def _put(self, ready: Ready) -> None:
        """Puts an image into the queue; while it is full the folder is looked at all the same."""
        if self._queue.full():
            self.full += 1
        began = self._arrivals.clock()
        while not self._stop.is_set():
            try:
                self._queue.put(ready, timeout=POLL)
                break
            except queue.Full:
                self._scan_if_due()
        self.full_seconds += self._arrivals.clock() - began
        self._active_at = self._arrivals.clock()
        self.greatest = max(self.greatest, self._queue.qsize())

"""Requests gathered into batches by the one thread that computes.

A request waits in a queue of bounded length. The thread takes the oldest, and with it others of the
same kits: as many as fill a batch, or come within a few milliseconds.
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from moekit.serve.extras import NOTHING, Extras
from moekit.serve.reading import Sent
from moekit.serve.service import AnswersImages, Outcome

_logger = logging.getLogger(__name__)
_SMOOTHING = 0.2
_FIRST_GUESS_S = 0.05


class Observes(Protocol):
    """Hears what happens in the queue."""

    def waiting(self, images: int) -> None:
        """How many images wait."""
        ...

    def batch(self, requests: int, images: int, seconds: float) -> None:
        """A batch was computed."""
        ...

    def dropped(self, reason: str) -> None:
        """A request was not computed: `cancelled` or `deadline`."""
        ...


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Ticket:
    """A request in the queue.

    Attributes:
        kits: Names of the kits.
        images: The images' bytes, or frames.
        deadline: When it is too late, by `time.monotonic`.
        arrived: When it came, by the same clock.
        extras: What is asked for besides the answers.
        future: The outcome of each image, in their order.
    """

    kits: tuple[str, ...]
    images: tuple[Sent, ...]
    deadline: float
    arrived: float
    extras: Extras = NOTHING
    future: concurrent.futures.Future[list[Outcome]] = dataclasses.field(
        default_factory=concurrent.futures.Future
    )

    def is_like(self, other: Ticket) -> bool:
        """Whether both ask for the same of their images, so that a batch may hold both."""
        return self.kits == other.kits and self.extras == other.extras


class Batcher:
    """Gathers requests into batches and computes them in a thread of its own.

    Args:
        answer: Answers the images of a batch; called by that thread only.
        batch_size: Images at which a batch is full.
        gather_s: Longest time that a request waits for others, in seconds.
        places: Most images that wait.
        observer: Hears what happens.
        clock: Gives seconds.
    """

    def __init__(
        self,
        answer: AnswersImages,
        *,
        batch_size: int,
        gather_s: float,
        places: int,
        observer: Observes | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._answer = answer
        self._batch_size = batch_size
        self._gather_s = gather_s
        self._places = places
        self._observer = observer
        self._clock = clock
        self._queue: collections.deque[Ticket] = collections.deque()
        self._changed = threading.Condition()
        self._closing = False
        self._hurrying = False
        self._image_s = _FIRST_GUESS_S
        self._thread = threading.Thread(target=self._work, name="moekit-serve", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def is_ready(self) -> bool:
        """Whether requests are taken."""
        return self.is_alive and not self._closing

    @property
    def waiting(self) -> int:
        """How many images wait."""
        with self._changed:
            return self._waiting()

    @property
    def wait_s(self) -> float:
        """Seconds after which what waits now is probably computed."""
        with self._changed:
            return self._waiting() * self._image_s

    def submit(
        self,
        kits: Sequence[str],
        images: Sequence[Sent],
        *,
        within_s: float,
        extras: Extras = NOTHING,
    ) -> Ticket | None:
        """Puts a request into the queue.

        Args:
            kits: Names of the kits.
            images: The images' bytes or frames, no more than there are places.
            within_s: Seconds after which it is too late.
            extras: What is asked for besides the answers.

        Returns:
            Its ticket; None if there is no room for it.
        """
        now = self._clock()
        ticket = Ticket(
            kits=tuple(kits),
            images=tuple(images),
            deadline=now + within_s,
            arrived=now,
            extras=extras,
        )
        with self._changed:
            if self._closing or self._waiting() + len(images) > self._places:
                return None
            self._queue.append(ticket)
            self._tell_waiting()
            self._changed.notify_all()
        return ticket

    def drop(self, ticket: Ticket, *, reason: str = "cancelled") -> None:
        """Gives up a request: it frees its place, and is not computed if that has not begun."""
        ticket.future.cancel()
        with self._changed:
            if ticket in self._queue:
                self._queue.remove(ticket)
                self._tell_waiting()
                self._tell_dropped(reason)

    def hurry(self) -> None:
        """From now on no request waits for others."""
        with self._changed:
            self._hurrying = True
            self._changed.notify_all()

    def close(self) -> None:
        """Takes no more requests, computes those that wait and ends the thread."""
        with self._changed:
            self._closing = self._hurrying = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join()

    def _work(self) -> None:
        while True:
            batch = self._gathered()
            if batch is None:
                return
            if batch:
                self._compute(batch)

    def _gathered(self) -> list[Ticket] | None:
        """The next batch; None at the end."""
        with self._changed:
            while not self._queue:
                if self._closing:
                    return None
                self._changed.wait()
            first = self._queue[0]
            until = first.arrived + self._gather_s
            while not self._hurrying and self._images_like(first) < self._batch_size:
                left = until - self._clock()
                if left <= 0:
                    break
                self._changed.wait(left)
                if first not in self._queue:  # it was given up meanwhile
                    return []
            taken = list(self._taken(first))
            self._tell_waiting()
        return taken

    def _images_like(self, first: Ticket) -> int:
        return sum(len(one.images) for one in self._queue if one.is_like(first))

    def _taken(self, first: Ticket) -> Iterator[Ticket]:
        """Takes a batch out of the queue, in the order of arrival."""
        now, images = self._clock(), 0
        for ticket in [one for one in self._queue if one.is_like(first)]:
            if images and images + len(ticket.images) > self._batch_size:
                return
            self._queue.remove(ticket)
            late = ticket.deadline <= now
            if late or not ticket.future.set_running_or_notify_cancel():
                self._tell_dropped("deadline" if late else "cancelled")
                ticket.future.cancel()
                continue
            images += len(ticket.images)
            yield ticket

    def _compute(self, batch: Sequence[Ticket]) -> None:
        images = [image for ticket in batch for image in ticket.images]
        began = self._clock()
        try:
            extras = batch[0].extras
            found = self._answer(batch[0].kits, images, *([] if extras == NOTHING else [extras]))
        except BaseException as error:  # the thread goes on, whatever a plugin raises
            _logger.exception("a batch failed")
            for ticket in batch:
                ticket.future.set_exception(RuntimeError(type(error).__name__))
            return
        seconds = self._clock() - began
        self._image_s += _SMOOTHING * (seconds / len(images) - self._image_s)
        if self._observer is not None:
            self._observer.batch(len(batch), len(images), seconds)
        first = 0
        for ticket in batch:
            ticket.future.set_result(found[first : first + len(ticket.images)])
            first += len(ticket.images)

    def _waiting(self) -> int:
        return sum(len(ticket.images) for ticket in self._queue)

    def _tell_waiting(self) -> None:
        if self._observer is not None:
            self._observer.waiting(self._waiting())

    def _tell_dropped(self, reason: str) -> None:
        if self._observer is not None:
            self._observer.dropped(reason)

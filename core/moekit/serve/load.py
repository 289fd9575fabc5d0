"""Load for a server, and what comes back: answers a second, latencies, errors.

In a closed loop a number of clients each wait for their answer before they ask again. In an open
loop requests come at a rate, whether earlier ones are answered or not, as those of many
independent users do; latency then counts from when a request was due, not from when it could be
sent (Schroeder, Wierman and Harchol-Balter, "Open versus closed: a cautionary tale", NSDI 2006).
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import itertools
import math
import queue
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from moekit.errors import MoekitError
from moekit.json_text import parse_json
from moekit.ranks import quantile
from moekit.serve.client import Line, check_is_its, form_of

ANSWERED = "200"
_LONGEST_WAIT = 1.0
"""Seconds that a client of a closed loop waits at most before it asks a full server again."""
_SECONDS_LATE = 0.01


@dataclasses.dataclass(frozen=True, kw_only=True)
class Load:
    """What is sent.

    Attributes:
        url: Address of the server.
        images: The bytes of image files; they are sent in turn.
        kits: Names of the kits that answer; empty for all.
        clients: Of a closed loop; of an open loop the most requests in flight.
        rate: Requests a second of an open loop; None for a closed loop.
        seconds: How long it is measured.
        warm_up_s: How long requests are sent before that.
        per_request: Images of a request.
        token: A token of the server; None for none.
        timeout_s: Seconds that a request may take.
        requests: Requests after which a closed loop ends before its time; None for no bound.
    """

    url: str
    images: Sequence[bytes]
    kits: Sequence[str] = ()
    clients: int = 8
    rate: float | None = None
    seconds: float = 10.0
    warm_up_s: float = 1.0
    per_request: int = 1
    token: str | None = None
    timeout_s: float = 60.0
    requests: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Reply:
    """What came of one request.

    Attributes:
        due: When it was to be sent, by `time.perf_counter`.
        sent: When it was sent.
        done: When it was answered.
        outcome: Its status, or a word for why it has none.
        images: Images that were answered.
    """

    due: float
    sent: float
    done: float
    outcome: str
    images: int


def run_load(load: Load) -> dict[str, Any]:
    """Sends a load and sums up the replies; see `summary`."""
    begin = time.perf_counter() + load.warm_up_s
    return summary(load, send_load(load, begin), begin)


def send_load(load: Load, begin: float) -> list[Reply]:
    """Sends a load; what came of each request, as it came.

    Args:
        load: What to send.
        begin: When the warm-up is over, by `time.perf_counter`.
    """
    sender = _Sender(load)
    return _closed(load, sender, begin) if load.rate is None else _open(load, sender, begin)


def summary(load: Load, replies: Sequence[Reply], begin: float) -> dict[str, Any]:
    """The figures of a load, as JSON.

    A closed loop counts what was answered within its time, an open loop what was due in it, until
    the last of them is answered. Latencies are those of answered requests, in milliseconds.

    Args:
        load: What was sent.
        replies: What came back.
        begin: When the warm-up was over, by `time.perf_counter`.
    """
    end = begin + load.seconds
    if load.rate is None:
        counted = [one for one in replies if begin <= one.done <= end]
    else:
        counted = [one for one in replies if begin <= one.due <= end]
        end = max([end, *(one.done for one in counted)])
    good = [one for one in counted if one.outcome == ANSWERED]
    took = sorted(1000 * (one.done - one.due) for one in good)
    images = sum(one.images for one in good)
    outcomes = collections.Counter(one.outcome for one in counted)
    return {
        "loop": "closed" if load.rate is None else "open",
        "clients": load.clients,
        "rate": load.rate,
        "images_per_request": load.per_request,
        "seconds": end - begin,
        "requests": len(counted),
        "answered": len(good),
        "requests_per_s": len(good) / (end - begin),
        "images_per_s": images / (end - begin),
        "latency_ms": {
            "mean": sum(took) / len(took) if took else None,
            **{f"p{share}": quantile(took, share / 100) for share in (50, 95, 99)},
            "max": took[-1] if took else None,
        },
        "statuses": {name: n for name, n in sorted(outcomes.items()) if name.isdecimal()},
        "errors": {name: n for name, n in sorted(outcomes.items()) if not name.isdecimal()},
        "sent_late": sum(one.sent - one.due > _SECONDS_LATE for one in counted),
    }


class _Sender:
    """Sends requests, which are made once, in turn."""

    def __init__(self, load: Load) -> None:
        self._load = load
        images = list(itertools.islice(itertools.cycle(load.images), _whole(load)))
        parts = [
            images[first : first + load.per_request]
            for first in range(0, len(images), load.per_request)
        ]
        self._made = [(part, *form_of(part, load.kits)) for part in parts]
        self._next = itertools.count()

    def line(self) -> Line:
        """A connection."""
        return Line(self._load.url, token=self._load.token, timeout_s=self._load.timeout_s)

    def send(self, line: Line, due: float) -> tuple[Reply, float]:
        """Sends the next request; what came of it, and how long a full server asks to wait."""
        contents, body, kind = self._made[next(self._next) % len(self._made)]
        sent, wait_s, images = time.perf_counter(), 0.0, 0
        try:
            status, wait_s, reply = line.post(body, kind)
            done, outcome = time.perf_counter(), str(status)
            if status == 200:
                images, outcome = _checked(reply, contents)
        except TimeoutError:
            done, outcome = time.perf_counter(), "timeout"
        except OSError:
            done, outcome = time.perf_counter(), "no-connection"
        return Reply(due, sent, done, outcome, images), wait_s


def _whole(load: Load) -> int:
    """Images of which each request has as many as it should, and each image is in one at least."""
    return load.per_request * math.ceil(len(load.images) / load.per_request)


def _checked(reply: bytes, contents: Sequence[bytes]) -> tuple[int, str]:
    """How many images are answered, and what to call the reply."""
    try:
        entries = parse_json(reply.decode("utf-8"))["images"]
        for entry, content in zip(entries, contents, strict=True):
            check_is_its(entry, content, "the image")
    except MoekitError:
        return 0, "swapped"
    except (ValueError, KeyError, TypeError):
        return 0, "odd-reply"
    return len(contents), ANSWERED


def _closed(load: Load, sender: _Sender, begin: float) -> list[Reply]:
    end, replies, numbers = begin + load.seconds, list[Reply](), itertools.count()

    def goes_on() -> bool:
        return load.requests is None or next(numbers) < load.requests

    def client() -> None:
        with contextlib.closing(sender.line()) as line:
            while (now := time.perf_counter()) < end and goes_on():
                reply, wait_s = sender.send(line, now)
                replies.append(reply)
                if reply.outcome != ANSWERED:
                    time.sleep(min(max(wait_s, 0.01), _LONGEST_WAIT))

    _in_threads(load.clients, client)
    return replies


def _open(load: Load, sender: _Sender, begin: float) -> list[Reply]:
    times: queue.SimpleQueue[float | None] = queue.SimpleQueue()
    replies: list[Reply] = []
    for due in _arrivals(load, begin):
        times.put(due)
    for _ in range(load.clients):
        times.put(None)

    def client() -> None:
        with contextlib.closing(sender.line()) as line:
            while (due := times.get()) is not None:
                time.sleep(max(0.0, due - time.perf_counter()))
                replies.append(sender.send(line, due)[0])

    _in_threads(load.clients, client)
    return replies


def _arrivals(load: Load, begin: float) -> Iterator[float]:
    """When requests are due: a Poisson process, the same each time."""
    assert load.rate is not None
    generator, due = random.Random(0), begin - load.warm_up_s  # noqa: S311 -- no secret
    while (due := due + generator.expovariate(load.rate)) < begin + load.seconds:
        yield due


def _in_threads(count: int, target: Callable[[], None]) -> None:
    threads = [threading.Thread(target=target, daemon=True) for _ in range(count)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()

"""Clients that do what clients do: some send broken or too large images, some go away."""

import collections
import contextlib
import hashlib
import itertools
import queue
import random
import socket
import struct
import time
import urllib.parse

from moekit.json_text import parse_json
from moekit.serve.client import Line, form_of
from tests.benchmarks.served import in_threads

GOOD, BROKEN, TOO_LARGE, LEAVING = "good", "broken", "too large", "leaving"
SHARE = 20
"""One request in 20 is broken, one is too large, and one leaves."""
STATUS = {GOOD: 200, BROKEN: 422, TOO_LARGE: 413}
_LONGEST_S = 300
"""Seconds after which a request that is sent again and again counts as lost."""
_BUSY = (429, 503)
_NEAR = 1e-3
"""How far a score may be from that of the same image by itself; those of others are further."""


def jobs_of(contents, count, *, most_bytes):
    """Requests in a random order that is the same each time: what each does, and its image.

    Args:
        contents: Images.
        count: How many requests.
        most_bytes: Bytes of a body that the server still takes.
    """
    special = count // SHARE
    kinds = [BROKEN] * special + [TOO_LARGE] * special + [LEAVING] * special
    kinds += [GOOD] * (count - len(kinds))
    generator = random.Random(0)
    generator.shuffle(kinds)
    jobs = []
    for kind, content in zip(kinds, itertools.cycle(contents), strict=False):
        if kind == BROKEN:
            content = content[: generator.randrange(1, len(content) - 100)]
        elif kind == TOO_LARGE:
            content = content + generator.randbytes(most_bytes)
        jobs.append((kind, content))
    return jobs


class Tally:
    """What became of requests.

    Attributes:
        done: By what they were.
        lost: In words; an answer that is missing, wrong or another's.
        again: Why requests were sent again, and how often.
    """

    def __init__(self):
        self.done = collections.Counter()
        self.lost = []
        self.again = collections.Counter()


def ask_all(url, jobs, *, clients, scores, on_done=lambda count: None):
    """Sends all jobs by several clients at once, each until it has its answer.

    Args:
        url: The server, which may end and come back meanwhile.
        jobs: As of `jobs_of`.
        clients: How many.
        scores: The score of each image by its hash.
        on_done: Is told how many are done.
    """
    waiting, tally = queue.SimpleQueue(), Tally()
    for job in jobs:
        waiting.put(job)

    def client():
        with contextlib.closing(Line(url, timeout_s=60.0)) as line:
            while True:
                try:
                    kind, content = waiting.get_nowait()
                except queue.Empty:
                    return
                wrong = _leave(url, content) if kind == LEAVING else None
                if kind != LEAVING:
                    wrong = _wrong(kind, content, _answer(line, content, tally.again), scores)
                if wrong is not None:
                    tally.lost.append(f"{kind}: {wrong}")
                tally.done[kind] += 1
                on_done(tally.done.total())

    in_threads(clients, client)
    return tally


def _answer(line, content, again):
    """Status and body of the answer, after as many tries as it takes; None if there is none."""
    body, kind = form_of([content], ())
    end = time.monotonic() + _LONGEST_S
    while time.monotonic() < end:
        try:
            status, wait_s, reply = line.post(body, kind)
        except OSError as error:
            again[type(error).__name__] += 1
            time.sleep(0.2)
            continue
        if status not in _BUSY:
            return status, reply
        again[str(status)] += 1
        time.sleep(min(1.0, max(0.05, wait_s)))
    return None


def _wrong(kind, content, answer, scores):
    """What is wrong with an answer, in words; None if nothing is."""
    if answer is None:
        return "no answer"
    status, reply = answer[0], parse_json(answer[1].decode("utf-8"))
    if status != STATUS[kind]:
        return f"the status {status}"
    if kind == TOO_LARGE:
        return None if reply["error"]["code"] == "usage/too-large" else "another error"
    (entry,) = reply["images"]
    own = hashlib.sha256(content).hexdigest()
    if entry["image_sha256"] != own:
        return "the answer to another image"
    if kind == BROKEN:
        return None if entry["error"]["code"].startswith("image/") else "another error"
    (found,) = entry["answers"].values()
    if found["receipt"]["image_sha256"] != own:
        return "a receipt of another image"
    if abs(found["values"]["score"] - scores[own]) > _NEAR:
        return f"the score {found['values']['score']} and not {scores[own]}"
    return None


def _leave(url, content):
    """Sends a request, or half of one, and goes away in one of several ways."""
    parts = urllib.parse.urlsplit(url)
    body, kind = form_of([content], ())
    head = f"POST /v1/answer HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: {kind}\r\n"
    sent = head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body
    way = hashlib.sha256(content).digest()[0] % 3
    with (
        contextlib.suppress(OSError),  # the server may be away just then
        socket.create_connection((parts.hostname, parts.port), timeout=10) as made,
    ):
        if way == 0:  # reset, not closed
            made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        made.sendall(sent if way else sent[: len(sent) // 2])
        if way == 2:  # while it is computed
            time.sleep(0.02)

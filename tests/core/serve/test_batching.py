"""Requests are gathered, wait in a bounded queue, and are dropped once nobody waits for them."""

import concurrent.futures
import dataclasses
import threading
import time

import pytest

from moekit.serve.batching import Batcher

IMAGES = [bytes([number]) for number in range(20)]


@dataclasses.dataclass
class Seen:
    """An observer."""

    batches: list = dataclasses.field(default_factory=list)
    given_up: list = dataclasses.field(default_factory=list)
    most: int = 0

    def waiting(self, images):
        self.most = max(self.most, images)

    def batch(self, requests, images, seconds):
        self.batches.append((requests, images))

    def dropped(self, reason):
        self.given_up.append(reason)


@pytest.fixture
def seen():
    return Seen()


@pytest.fixture
def batcher(slow, seen):
    made = Batcher(slow, batch_size=4, gather_s=0.0, places=10, observer=seen)
    made.start()
    yield made
    slow.free.set()
    made.close()


def submit(batcher, *images, kits=("a",), within_s=30.0):
    return batcher.submit(kits, images, within_s=within_s)


def busy(batcher, slow):
    """The thread computes something, so that what comes now waits."""
    ticket = submit(batcher, b"first")
    assert slow.begun.wait(10)
    return ticket


def contents(ticket):
    return [one.rows[ticket.kits[0]]["verdict"] for one in ticket.future.result(10)]


def hashes(*images):
    from moekit.serve.reading import content_of

    return [content_of(image) for image in images]


def test_requests_of_the_same_kits_are_gathered_and_each_gets_its_own(batcher, slow, seen):
    busy(batcher, slow)
    tickets = [submit(batcher, *IMAGES[n : n + 2]) for n in (0, 2, 4)]
    slow.free.set()
    for number, ticket in enumerate(tickets):
        assert contents(ticket) == hashes(*IMAGES[2 * number : 2 * number + 2])
    assert seen.batches == [(1, 1), (2, 4), (1, 2)]


def test_requests_of_other_kits_are_computed_apart_and_in_turn(batcher, slow, seen):
    busy(batcher, slow)
    tickets = [
        submit(batcher, IMAGES[n], kits=kits)
        for n, kits in enumerate([("a",), ("b",), ("a",), ("a", "b")])
    ]
    slow.free.set()
    assert [contents(ticket) for ticket in tickets] == [hashes(image) for image in IMAGES[:4]]
    assert [call[0] for call in slow.calls[1:]] == [("a",), ("b",), ("a", "b")]
    assert seen.batches == [(1, 1), (2, 2), (1, 1), (1, 1)]


def test_a_request_waits_for_others_as_long_as_it_is_told(slow, seen):
    slow.free.set()
    batcher = Batcher(slow, batch_size=4, gather_s=5.0, places=10, observer=seen)
    batcher.start()
    began = time.monotonic()
    tickets = [submit(batcher, image) for image in IMAGES[:4]]
    for ticket in tickets:
        ticket.future.result(4)
    assert time.monotonic() - began < 4, "a full batch waits no longer"
    assert seen.batches == [(4, 4)]
    late = submit(batcher, IMAGES[4])
    batcher.close()  # what waits is computed
    assert contents(late) == hashes(IMAGES[4])


def test_a_request_larger_than_a_batch_is_one_batch(batcher, slow, seen):
    busy(batcher, slow)
    ticket = submit(batcher, *IMAGES[:9])
    slow.free.set()
    assert contents(ticket) == hashes(*IMAGES[:9])
    assert seen.batches == [(1, 1), (1, 9)]


def test_the_queue_is_bounded_and_a_dropped_request_frees_its_place(batcher, slow, seen):
    first = busy(batcher, slow)
    waiting = submit(batcher, *IMAGES[:8])
    assert submit(batcher, *IMAGES[:3]) is None
    assert batcher.waiting == 8
    assert batcher.wait_s > 0
    batcher.drop(waiting)
    assert batcher.waiting == 0
    instead = submit(batcher, *IMAGES[:3])
    slow.free.set()
    assert contents(instead) == hashes(*IMAGES[:3])
    assert contents(first) == hashes(b"first")
    assert [call[1] for call in slow.calls] == [(b"first",), tuple(IMAGES[:3])]
    assert seen.given_up == ["cancelled"]
    assert seen.most == 8


def test_a_request_whose_time_is_over_is_not_computed(batcher, slow, seen):
    busy(batcher, slow)
    late = submit(batcher, b"late", within_s=0.01)
    good = submit(batcher, b"good")
    time.sleep(0.05)
    slow.free.set()
    assert contents(good) == hashes(b"good")
    with pytest.raises(concurrent.futures.CancelledError):
        late.future.result(10)
    assert all(b"late" not in call[1] for call in slow.calls)
    assert seen.given_up == ["deadline"]


def test_a_failure_of_everything_ends_neither_thread_nor_queue(broken):
    failing = broken(SystemExit(3))
    batcher = Batcher(failing, batch_size=4, gather_s=0.0, places=10)
    batcher.start()
    ticket = submit(batcher, b"x")
    with pytest.raises(RuntimeError, match="SystemExit"):
        ticket.future.result(10)
    failing.error = None
    assert submit(batcher, b"x").future.result(10)[0].failed["a"].code == "plugin/other"
    batcher.close()
    assert not batcher.is_alive
    assert submit(batcher, b"x") is None


def test_many_threads_get_their_own_answers_and_nothing_is_lost(seen):
    def answer(kits, images):
        time.sleep(0.001)
        return [(kits, image) for image in images]

    batcher = Batcher(answer, batch_size=8, gather_s=0.002, places=1000, observer=seen)
    batcher.start()
    wrong = []

    def ask(number):
        for turn in range(20):
            kits, image = (str(number % 3),), f"{number} {turn}".encode()
            ticket = submit(batcher, image, kits=kits)
            if turn % 5 == 4:
                batcher.drop(ticket)
            elif ticket.future.result(20) != [(kits, image)]:
                wrong.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    batcher.close()
    assert not wrong
    assert batcher.waiting == 0
    assert max(images for _, images in seen.batches) > 1
    assert max(images for _, images in seen.batches) <= 8

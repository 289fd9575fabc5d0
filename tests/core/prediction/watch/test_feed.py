"""The queue before the scorer: bounded, and honest about it."""

import time

import pytest
import torch

from moekit.data.stream import ReadSample
from moekit.prediction.watch.feed import Feed
from moekit.prediction.watch.source import Arrivals

READ = ReadSample(tensor=torch.zeros(3, 4, 4), size=(4, 4))


@pytest.fixture
def open_feed(tmp_path):
    def make(read, *, length=2, once=True, idle=None):
        arrivals = Arrivals(tmp_path / "in", seen=(), settle=0, tries=1)
        return Feed(arrivals, read, length=length, once=once, idle=idle)

    return make


def wait_for(what):
    limit = time.monotonic() + 60
    while not what():
        assert time.monotonic() < limit
        time.sleep(0.005)


def test_the_reader_waits_while_the_queue_is_full_and_still_sees_what_comes(open_feed, paint):
    read = []

    def count(path):
        read.append(path.name)
        return READ

    paint(*(f"{number}.png" for number in range(8)))
    with open_feed(count, length=2) as feed:
        wait_for(lambda: feed.full)
        time.sleep(0.15)
        assert len(read) == 3  # two in the queue, one in the reader's hand
        assert feed.backlog == 5
        paint("late.png")
        wait_for(lambda: feed.backlog == 6)
        taken = []
        while not feed.is_over():
            taken += feed.take(1, timeout=0.05)
    assert [one.name for one in taken] == [*(f"{number}.png" for number in range(8)), "late.png"]
    assert (feed.greatest, feed.greatest_backlog) == (2, 8)
    assert feed.full_seconds > 0.1


def test_as_many_are_taken_as_wait_and_no_more_than_asked_for(open_feed, paint):
    paint("a.png", "b.png", "c.png")
    with open_feed(lambda path: READ, length=8) as feed:
        wait_for(lambda: feed.greatest == 3)
        assert len(feed.take(2, timeout=1)) == 2
        assert len(feed.take(2, timeout=1)) == 1
        assert feed.take(2, timeout=0.01) == []


def test_it_stops_while_it_waits_for_a_place(open_feed, paint):
    paint("a.png", "b.png", "c.png")
    began = time.monotonic()
    with open_feed(lambda path: READ, length=1) as feed:
        wait_for(lambda: feed.full)
    assert time.monotonic() - began < 5


def test_what_ends_the_thread_reaches_the_scorer(open_feed, paint):
    def fail(path):
        raise MemoryError("no memory for it")

    paint("a.png")
    with open_feed(fail) as feed, pytest.raises(MemoryError, match="no memory"):
        wait_for(feed.is_over)

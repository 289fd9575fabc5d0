"""Kits in memory: how many, which of them leave it, and loading next to what else is done."""

import collections
import threading

import pytest

from moekit.runtime.cache import KitCache
from moekit.testing import refused


@pytest.fixture
def loads():
    """How often each kit was loaded."""
    return collections.Counter()


@pytest.fixture
def cache(loads):
    """Makes a cache of kits, which are their names here."""

    def make(most, *names):
        made = KitCache(most)
        for name in names:
            made.add(name, lambda name=name: loads.update([name]) or name)
        return made

    return make


def test_the_least_recently_used_kit_leaves_and_is_loaded_again(cache, loads):
    made = cache(2, "a", "b", "c")
    assert made.held == ("b", "c")
    assert made.get("b") == "b"
    assert made.get("a") == "a"
    assert made.held == ("b", "a")
    assert loads == {"a": 2, "b": 1, "c": 1}
    made.forget("b")
    assert made.held == ("a",)


def test_without_a_bound_each_kit_is_loaded_once(cache, loads):
    made = cache(None, *"abcde")
    assert [list(part) for part in made.parts("abcde")] == [list("abcde")]
    assert [made.get(name) for name in "edcba"] == list("edcba")
    assert set(loads.values()) == {1}


def test_loading_is_waited_for_only_by_those_who_need_the_kit(cache):
    made, go = cache(2, "a", "b"), threading.Event()
    go.set()
    made.add("slow", lambda: go.wait(30) and "slow")
    made.get("a")
    made.get("b")
    assert "slow" not in made.held
    go.clear()
    (loading,) = made.fetch(["slow"])
    assert made.get("b") == "b"
    assert not loading.done()
    go.set()
    assert made.get("slow") == "slow"


def test_a_long_request_is_made_in_parts_while_the_next_one_is_loaded(cache, loads):
    made = cache(4, *"abcdefg")
    loads.clear()
    parts = made.parts("abcdefg")
    assert next(parts) == ("a", "b")
    assert set("abcd") <= set(made.held)
    for name in "abcd":
        made.get(name)
    assert [*parts] == [("c", "d"), ("e", "f"), ("g",)]
    assert made.get("g") == "g"
    assert max(loads[name] for name in "abcd") == 1


def test_a_kit_that_cannot_be_loaded_is_tried_again(cache):
    made = cache(2, "a", "b")
    told = iter(["first", OSError("gone"), "again"])

    def load():
        found = next(told)
        if isinstance(found, OSError):
            raise found
        return found

    made.add("c", load)
    made.get("a")
    made.get("b")
    with pytest.raises(OSError, match="gone"):
        made.get("c")
    assert made.get("c") == "again"


def test_room_for_one_kit_is_too_little():
    with refused("usage/out-of-range", match="at most 1"):
        KitCache(1)

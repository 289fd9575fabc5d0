"""The cache of images: complete or absent, and never trusted unread."""

import os
import time

import numpy as np
import pytest

from moekit.testing import refused
from moekit_medical.loaders.cache import cached, key_of

PIXELS = np.arange(64, dtype=np.uint8).reshape(8, 8)


def write(writer):
    writer.image("a.png", PIXELS)
    writer.image("sub/b.png", PIXELS[::-1].copy())
    writer.note("c.png", "left out")


def refuse(writer):
    raise AssertionError("it was written again")


def test_a_folder_is_written_once(cache):
    first = cached("kind", "key", write)
    assert cached("kind", "key", refuse) == first
    assert first.folder == cache / "kind" / "key"
    assert sorted(first.images) == ["a.png", "sub/b.png"]
    assert first.notes == {"c.png": "left out"}


def test_only_the_owner_may_look_into_it(cache):
    assert cached("kind", "key", write).folder.stat().st_mode & 0o077 == 0


def test_an_interrupted_run_leaves_nothing_that_looks_complete(cache):
    def stop(writer):
        write(writer)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached("kind", "key", stop)
    assert list((cache / "kind").iterdir()) == []
    assert sorted(cached("kind", "key", write).images) == ["a.png", "sub/b.png"]


def test_a_killed_run_leaves_a_folder_that_is_removed_a_day_later(cache):
    old, new = cache / "kind" / ".key.old.tmp", cache / "kind" / ".key.new.tmp"
    for folder in (old, new):
        folder.mkdir(parents=True)
    os.utime(old, (time.time() - 90_000,) * 2)
    cached("kind", "key", write)
    assert (old.exists(), new.exists()) == (False, True)


def test_of_two_runs_at_once_the_first_one_stays(cache):
    def write_late(writer):
        cached("kind", "key", write)
        writer.image("late.png", PIXELS)

    assert "late.png" not in cached("kind", "key", write_late).images
    assert [path.name for path in (cache / "kind").iterdir()] == ["key"]


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("a.png", lambda path: path.write_bytes(path.read_bytes()[:20])),
        ("sub/b.png", lambda path: path.write_bytes(path.read_bytes()[:-1] + b"x")),
        ("a.png", lambda path: path.unlink()),
        ("index.json", lambda path: path.write_text("{}")),
        ("index.json", lambda path: path.write_text('{"images": 3, "notes": {}}')),
        ("index.json", lambda path: path.unlink()),
    ],
)
def test_damage_is_named_and_the_next_run_writes_anew(cache, name, damage):
    first = cached("kind", "key", write)
    damage(first.folder / name)
    with refused("data/damaged-cache") as caught:
        cached("kind", "key", refuse)
    assert name in caught.value.what
    assert str(cache) not in str(caught.value)
    assert cached("kind", "key", write) == first


def test_a_cache_that_cannot_be_written_is_a_storage_error(cache):
    (cache / "kind").write_text("not a folder")
    with refused("storage/cannot-write"):
        cached("kind", "key", write)


def test_a_key_depends_on_each_part_and_on_where_it_ends():
    keys = {
        key_of("a", "b"),
        key_of("b", "a"),
        key_of("ab"),
        key_of("ab", ""),
        key_of("a", "b", ""),
    }
    assert len(keys) == 5

"""When a file is new, when it is whole, and when it is given up. The clock is the test's own."""

import os

import pytest

from moekit.prediction.watch.source import Arrivals
from moekit.testing import refused


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def arrivals(tmp_path, clock):
    (tmp_path / "in").mkdir()
    return Arrivals(tmp_path / "in", seen={"old.png"}, settle=1.0, tries=3, clock=clock)


def write(path, text, changed):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (changed, changed))


def names(found):
    return [one.name for one in found]


def test_a_file_is_whole_once_it_has_not_changed_for_the_settle_time(arrivals, clock, tmp_path):
    write(tmp_path / "in" / "deep" / "er" / "a.png", "half", 1)
    assert arrivals.scan() == []
    clock.now += 0.9
    write(tmp_path / "in" / "deep" / "er" / "a.png", "whole", 1)
    assert arrivals.scan() == []
    clock.now += 0.9
    write(tmp_path / "in" / "deep" / "er" / "a.png", "WHOLE", 2)
    assert arrivals.scan() == []
    assert arrivals.waiting == 1
    clock.now += 1
    (found,) = arrivals.scan()
    assert (found.name, found.whole_at) == ("deep/er/a.png", clock.now)
    clock.now += 5
    assert arrivals.scan() == []
    assert arrivals.waiting == 0


def test_files_come_in_the_order_in_which_they_were_written(arrivals, clock, tmp_path):
    for name, changed in (("b.png", 1), ("c.png", 3), ("a.png", 2)):
        write(tmp_path / "in" / name, "-", changed)
    arrivals.scan()
    clock.now += 1
    assert names(arrivals.scan()) == ["b.png", "a.png", "c.png"]


def test_files_of_names_that_were_scored_are_handed_out_once_to_be_compared(
    arrivals, clock, tmp_path
):
    write(tmp_path / "in" / "old.png", "-", 1)
    write(tmp_path / "in" / "new.png", "-", 2)
    arrivals.scan()
    clock.now += 1
    assert [(one.name, one.earlier) for one in arrivals.scan()] == [
        ("old.png", True),
        ("new.png", False),
    ]
    clock.now += 5
    assert arrivals.scan() == []


def test_a_file_that_changes_after_it_was_handed_out_is_handed_out_again(arrivals, clock, tmp_path):
    path = tmp_path / "in" / "a.png"
    write(path, "one", 1)
    arrivals.scan()
    clock.now += 1
    assert names(arrivals.scan()) == ["a.png"]
    write(path, "two", 1)  # the same size, and the time is set back
    assert arrivals.scan() == []
    clock.now += 1
    (found,) = arrivals.scan()
    assert (found.name, found.earlier) == ("a.png", False)
    clock.now += 5
    assert arrivals.scan() == []


def test_other_files_and_hidden_ones_are_passed_over(arrivals, clock, tmp_path):
    for name in ("notes.txt", ".hidden.png", ".tmp/x.png"):
        write(tmp_path / "in" / name, "-", 1)
    (tmp_path / "in" / "broken.png").symlink_to(tmp_path / "nowhere.png")
    arrivals.scan()
    clock.now += 1
    assert arrivals.scan() == []
    assert arrivals.waiting == 0


def test_a_file_that_cannot_be_read_is_waited_for_longer_each_time_and_then_given_up(
    arrivals, clock, tmp_path
):
    write(tmp_path / "in" / "a.png", "-", 1)
    arrivals.scan()
    for wait in (1, 2):
        clock.now += wait
        (found,) = arrivals.scan()
        assert arrivals.wait_again(found, "it is damaged")
        clock.now += wait
        assert arrivals.scan() == []
    clock.now += 2
    (found,) = arrivals.scan()
    assert not arrivals.wait_again(found, "it is damaged")
    clock.now += 99
    assert arrivals.scan() == []


def test_a_file_that_changes_after_it_was_read_in_vain_begins_anew(arrivals, clock, tmp_path):
    path = tmp_path / "in" / "a.png"
    write(path, "-", 1)
    arrivals.scan()
    clock.now += 1
    (found,) = arrivals.scan()
    assert arrivals.wait_again(found, "it is damaged")
    write(path, "whole", 2)
    arrivals.scan()
    clock.now += 1
    (found,) = arrivals.scan()
    assert (found.tries, found.reason) == (0, "")


def test_a_file_that_vanishes_unread_is_forgotten_one_that_was_read_in_vain_is_told(
    arrivals, clock, tmp_path
):
    unread, read = tmp_path / "in" / "unread.png", tmp_path / "in" / "read.png"
    write(read, "-", 1)
    arrivals.scan()
    clock.now += 1
    (found,) = arrivals.scan()
    arrivals.wait_again(found, "it is damaged")
    write(unread, "-", 1)
    arrivals.scan()
    unread.unlink()
    read.unlink()
    assert names(arrivals.scan()) == ["read.png"]
    assert arrivals.waiting == 0


def test_a_folder_that_vanishes_for_a_while_loses_nothing(arrivals, clock, tmp_path):
    write(tmp_path / "in" / "a.png", "-", 1)
    arrivals.scan()
    (tmp_path / "in").rename(tmp_path / "away")
    assert arrivals.scan() == []
    assert "cannot be listed" in arrivals.trouble
    (tmp_path / "away").rename(tmp_path / "in")
    clock.now += 1
    assert names(arrivals.scan()) == ["a.png"]
    assert not arrivals.trouble


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with refused("data/not-found"):
        Arrivals(tmp_path / "none", seen=(), settle=1, tries=1)


def test_names_are_right_in_the_folder_where_one_is(tmp_path, clock, monkeypatch):
    write(tmp_path / "in" / "x" / "a.png", "-", 1)
    monkeypatch.chdir(tmp_path / "in")
    arrivals = Arrivals(type(tmp_path)(), seen=(), settle=0, tries=2, clock=clock)
    (found,) = arrivals.scan()
    assert found.name == "x/a.png"
    assert arrivals.wait_again(found, "it is damaged")
    assert arrivals.waiting == 1


def test_names_of_files_that_are_gone_are_forgotten(arrivals, clock, tmp_path):
    """Those of earlier starts stay, since their number is bounded."""
    for number in range(50):
        path = tmp_path / "in" / f"{number}.png"
        write(path, "-", 1)
        write(tmp_path / "in" / "old.png", str(number), 1)
        arrivals.scan()
        clock.now += 1
        assert names(arrivals.scan()) == [f"{number}.png", "old.png"]
        path.unlink()
        (tmp_path / "in" / "old.png").unlink()
    assert arrivals.scan() == []
    assert set(arrivals._handed_out) == {"old.png"}

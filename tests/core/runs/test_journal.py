"""The journal: whole lines, of one provenance, repaired after a kill."""

import json

import pytest

from moekit.runs.journal import Journal, _cut_last_line, read_journal
from moekit.testing import refused

HEADER = {"kit": "a", "threshold": 0.5}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "out" / "rows.jsonl"
    with Journal(path, HEADER) as journal:
        journal.append({"n": number} for number in range(3))
    return path


def numbers(path):
    return [row["n"] for row in read_journal(path, HEADER)]


def test_rows_come_back_in_order_and_more_are_appended(path):
    with Journal(path, HEADER) as journal:
        journal.append([{"n": 3}])
    assert numbers(path) == [0, 1, 2, 3]
    assert path.read_text().count("kit") == 1


@pytest.mark.parametrize("cut", [1, 2, 5, 8])
def test_a_last_line_that_was_cut_off_is_no_row_and_is_taken_away(path, cut):
    path.write_bytes(path.read_bytes()[:-cut])
    assert numbers(path) == [0, 1]
    with Journal(path, HEADER) as journal:
        journal.append([{"n": 9}])
    assert numbers(path) == [0, 1, 9]
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_a_first_line_that_was_cut_off_is_written_again(path):
    path.write_bytes(path.read_bytes()[:10])
    assert numbers(path) == []
    with Journal(path, HEADER) as journal:
        journal.append([{"n": 7}])
    assert numbers(path) == [7]


@pytest.mark.parametrize("first", [b'{"kit": "b"}\n', b"no journal at all", b"\x00\xff\n"])
def test_a_file_of_another_provenance_is_refused_and_left_as_it_is(path, first):
    path.write_bytes(first)
    with refused("usage/other-run"):
        numbers(path)
    assert path.read_bytes() == first


def test_a_damaged_line_in_the_middle_costs_that_line_alone(path):
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], b"\xff\x00{\n", *lines[2:]]))
    assert numbers(path) == [0, 1, 2]


def test_a_long_file_is_cut_after_its_last_line_end_wherever_it_lies(tmp_path):
    for tail in (0, 3, 10, 11, 12, 25):
        path = tmp_path / f"{tail}"
        path.write_bytes(b"x" * 20 + b"\n" + b"y" * tail)
        with path.open("ab+") as file:
            _cut_last_line(file, step=4)
        assert path.read_bytes() == b"x" * 20 + b"\n"


def test_one_command_at_a_time_writes(path):
    with Journal(path, HEADER) as first:
        with refused("usage/folder-in-use"):
            Journal(path, HEADER)
        first.append([{"n": 3}])
    with Journal(path, HEADER) as second:
        second.append([{"n": 4}])
    assert numbers(path) == [0, 1, 2, 3, 4]


def test_what_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").touch()
    with refused("storage/cannot-write"):
        Journal(tmp_path / "file" / "rows.jsonl", HEADER)

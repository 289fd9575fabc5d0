"""Text of others: names that are no text, control characters, cells that would be formulas."""

import csv
import io

import pytest

from moekit.errors import DataError
from moekit.tables import CsvWriter, csv_table
from moekit.text import plain_cell, printable, raw_name, safe_cell, visible_name

NAMES = [
    "a.png",
    "caf\udce9.png",
    r"caf\udce9.png",
    "a\\b",
    "a\\\\b",
    "\\\udcff\\u0041",
    "größe",
    "",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_shown_as_text_and_given_back(name):
    shown = visible_name(name)
    shown.encode("utf-8")
    assert raw_name(shown) == name


def test_two_names_are_never_shown_alike():
    assert len({visible_name(name) for name in NAMES}) == len(NAMES)


@pytest.mark.parametrize("name", ["a.png", "größe/teil 1.png", "a\\b.png", "ünïcode\u00a0.png"])
def test_an_ordinary_name_stays_as_it_is(name):
    assert visible_name(name) == name


@pytest.mark.parametrize("text", ["\x1b[31mred", "a\rb", "a\x9bb", "a\u202eb", "a\x00b", "a\x07b"])
def test_nothing_that_a_terminal_obeys_is_left(text):
    assert all(letter.isprintable() for letter in printable(text))


def test_a_line_is_bounded_and_line_ends_stay_only_if_asked():
    assert len(printable("x" * 10**6, most=80)) == 80
    assert printable("a\nb") == "a b"
    assert printable("a\nb\x1b", lines=True) == "a\nb?"


def test_an_error_is_three_lines_whatever_is_in_it():
    error = DataError("a\nb\x1b[2J" + "x" * 10**6, whose="c\nd\udcff", fix="e\rf", code="data/x")
    told = str(error).splitlines()
    assert len(told) == 3
    assert len(str(error)) < 10_000
    assert "\x1b" not in str(error)
    str(error).encode("utf-8")


CELLS = ["=1+1", "+a", "-a", "@a", "\t=1", "\r=1", "\n=1", "'=1", "''=1", "'a", "'", "a", "", "-"]


@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_is_no_formula_and_is_given_back(cell):
    assert not safe_cell(cell).startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert plain_cell(safe_cell(cell)) == cell


@pytest.mark.parametrize("cell", [-1, -0.5, "-0.5", "+3", "-1e-05", None, True])
def test_numbers_stay_numbers(cell):
    assert safe_cell(cell) is cell


def test_a_table_is_read_as_it_was_written():
    file = io.StringIO(newline="")
    writer = CsvWriter(file)
    writer.writerow(["id", "=head", "score"])
    writer.writerows([cell, cell, -0.25] for cell in CELLS)
    file.seek(0)
    raw = [cell for row in csv.reader(file) for cell in row[:2]]
    assert not [cell for cell in raw if cell[:1] in ("=", "+", "-", "@", "\t", "\r", "\n") and cell]
    file.seek(0)
    columns, rows = csv_table(file)
    assert columns == ["id", "=head", "score"]
    assert [row["id"] for row in rows] == [row["=head"] for row in rows] == CELLS
    assert {row["score"] for row in rows} == {"-0.25"}

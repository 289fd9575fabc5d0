"""Options behind the path of a loader."""

import unicodedata
from pathlib import Path, PurePosixPath

import pytest

from moekit.data.options import parse_source, path_as_stored, whole_number
from moekit.testing import refused


def parse(text):
    return parse_source(Path(text), known=("shots", "groups"), missing="look elsewhere")


def test_path_and_options_are_told_apart(tmp_path):
    assert parse(tmp_path) == (tmp_path, {})
    assert parse(f"{tmp_path}?shots=4&groups=a/b.csv") == (
        tmp_path,
        {"shots": "4", "groups": "a/b.csv"},
    )


def test_a_folder_with_a_question_mark_in_its_name_is_a_path_as_a_whole(tmp_path):
    folder = tmp_path / "what?shots=4"
    folder.mkdir()
    assert parse(folder) == (folder, {})
    assert parse(f"{folder}?shots=8") == (folder, {"shots": "8"})


@pytest.mark.parametrize("text", ["shot=4", "shots", "shots=", "shots=1&shots=2", "=4"])
def test_an_option_that_is_unknown_empty_or_given_twice_is_refused(tmp_path, text):
    with refused("data/bad-option", match="groups, shots"):
        parse(f"{tmp_path}?{text}")


@pytest.mark.parametrize("name", ["gone", "gone?shots=4", "x" * 5000])
def test_a_path_that_is_not_there_is_named_with_what_to_do(tmp_path, name):
    with refused("data/not-found", match="look elsewhere") as caught:
        parse(tmp_path / name)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
@pytest.mark.parametrize("written", ["NFC", "NFD"])
def test_a_name_is_found_in_whichever_form_its_umlauts_are_stored(tmp_path, stored, written):
    name = "Prüf/größe.png"
    path = tmp_path / unicodedata.normalize(stored, name)
    path.parent.mkdir()
    path.touch()
    given = PurePosixPath(unicodedata.normalize(written, name))
    assert path_as_stored(tmp_path, given) == path
    path.unlink()
    assert path_as_stored(tmp_path, given) == tmp_path / given


def test_no_path_at_all_is_refused():
    with refused("data/not-found"):
        parse_source(None, known=())


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *(("0", 0), ("7", 7), ("007", 7), ("255", 255), ("0" * 9000 + "9", 9)),
        *(("256", None), ("-1", None), ("+1", None), (" 1", None), ("1.0", None), ("", None)),
        *(("\u0663", None), ("\u00b2", None), ("9" * 9000, None)),
    ],
)
def test_a_whole_number_is_digits_within_bounds(text, number):
    assert whole_number(text, most=255) == number


def test_a_whole_number_may_have_a_least_one():
    assert whole_number("0", least=1, most=9) is None
    assert whole_number("1", least=1, most=9) == 1

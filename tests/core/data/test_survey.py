"""Whatever lies in a folder of pictures is read, or named with the reason."""

import os
from pathlib import Path, PurePath

import pytest

from moekit.data.images import find_images, relative_id
from moekit.data.suffixes import IMAGE_SUFFIXES, UNREAD_SUFFIXES, suffix_of, why_unread
from moekit.data.survey import picture_paths, survey_folder
from moekit.prediction import inputs
from moekit.prediction.inputs import collect_inputs
from moekit.testing import refused


def test_each_ending_that_pillow_knows_is_read_or_named():
    from PIL import Image

    no_pictures = {".h5", ".hdf", ".pdf", ".mpeg", ".mpg", ".ps", ".bufr", ".grib", ".iim"}
    known = set(Image.registered_extensions())
    assert known - no_pictures <= IMAGE_SUFFIXES | UNREAD_SUFFIXES
    assert not IMAGE_SUFFIXES & UNREAD_SUFFIXES


def test_pictures_of_each_ending_are_found_and_the_others_named(tmp_path, picture):
    for name in ("a.gif", "b.JFIF", "c.jpe", "d.Png"):
        picture.save(tmp_path / name, format="GIF" if "gif" in name else "JPEG")
    for name in ("e.heic", "f.JP2", "notes.txt", "g.json"):
        (tmp_path / name).write_bytes(b"x")
    picture.save(tmp_path / "without", format="PNG")
    picture.save(tmp_path / "odd.dat", format="TIFF")
    (tmp_path / "other").write_bytes(b"no picture")
    survey = survey_folder(tmp_path)
    assert [path.name for path in survey.images] == ["a.gif", "b.JFIF", "c.jpe", "d.Png"]
    assert list(survey.images) == find_images(tmp_path)
    reasons = {skip.id: skip.reason for skip in survey.skipped}
    assert list(reasons) == ["e.heic", "f.JP2", "odd.dat", "without"]
    assert ".heic" in reasons["e.heic"]
    assert "PNG" in reasons["without"]
    assert "TIFF" in reasons["odd.dat"]


@pytest.mark.parametrize("name", ["a.PNG", "a.b.tif", "a.", ".png", "a..jpg", "png", "", "..gif"])
def test_the_ending_of_a_name_is_that_of_pathlib(name):
    assert suffix_of(name) == PurePath(name).suffix.lower()


def test_files_that_are_surely_no_pictures_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert why_unread(tmp_path / "pipe") is None
    assert why_unread(tmp_path / "none.json") is None


def test_a_folder_of_two_names_is_told_and_a_loop_is_not(tmp_path, picture):
    (tmp_path / "a/deep").mkdir(parents=True)
    picture.save(tmp_path / "a/deep/1.png")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    (tmp_path / "a/loop").symlink_to(tmp_path)
    survey = survey_folder(tmp_path)
    assert [path.name for path in survey.images] == ["1.png"]
    assert survey.linked == (("b", "a"),)
    assert survey.check_linked(lambda path: None, whose="-") == [
        "b is the folder a (a link); its files are read once"
    ]
    with refused("data/same-folder", match="b and a"):
        survey.check_linked(lambda path: path.parts[0], whose="-")


@pytest.mark.parametrize("folder", ["parts", "./parts", ".", "größen"])
def test_the_paths_of_pictures_are_those_of_the_survey_in_its_order(tmp_path, monkeypatch, folder):
    monkeypatch.chdir(tmp_path)
    for name in ("b.png", "a/z.png", "a.b/c.jpg", "a-b/c.heic", "ä/1.png", "a\u0308/2.png"):
        for place in ("parts", "größen"):
            (tmp_path / place / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / place / name).touch()
    found = picture_paths(Path(folder))
    assert len(found) >= 6
    assert [Path(path) for path in found] == survey_folder(Path(folder)).pictures
    names = [relative_id(Path(path), Path(folder)) for path in found]
    assert names == sorted(names)


def test_predict_names_pictures_that_are_not_read_among_its_inputs(tmp_path, picture):
    picture.save(tmp_path / "a.png")
    (tmp_path / "b.heic").write_bytes(b"x")
    picture.save(tmp_path / "c", format="PNG")
    assert [name for name, _ in collect_inputs([tmp_path])] == ["a.png", "b.heic", "c"]


def test_inputs_that_are_links_to_one_file_are_answered_once(tmp_path, picture):
    picture.save(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "a.png")
    (tmp_path / "more").mkdir()
    picture.save(tmp_path / "more/a.png")
    (tmp_path / "other").symlink_to(tmp_path / "more")
    found = collect_inputs([tmp_path, tmp_path / "other", tmp_path / "other/a.png"])
    assert [name for name, _ in found] == ["a.png", "more/a.png"]


def test_shared_names_become_unique_and_stay_so():
    found = {f"/{place}/{number}.png": f"{number}.png" for place in "ab" for number in (1, 2)}
    found["/c/3.png"] = "3.png"
    unique = inputs._with_unique_names(found)
    names = [name for name, _ in unique]
    assert len(set(names)) == 5
    assert names[-1] == "3.png"
    assert all(name.endswith(".png") for name in names)
    taken = {"/d/x": names[0], **found}
    assert len({name for name, _ in inputs._with_unique_names(taken)}) == 6


class Counted(str):
    """A name that counts how often it is compared with another."""

    compared = 0
    __hash__ = str.__hash__

    def __eq__(self, other):
        Counted.compared += 1
        return str.__eq__(self, other)


def test_naming_inputs_compares_each_name_a_few_times():
    def compared(count):
        found = {f"/a/{number}.png": Counted(f"{number}.png") for number in range(count)}
        Counted.compared = 0
        assert len(inputs._with_unique_names(found)) == count
        return Counted.compared

    assert compared(2000) <= 10 * 2000


def test_the_disk_is_asked_by_folder_and_not_by_file(tmp_path, monkeypatch):
    for folder in range(3):
        (tmp_path / str(folder)).mkdir()
        for number in range(100):
            (tmp_path / str(folder) / f"{number}.png").touch()
    asked = []
    for name in ("stat", "lstat", "readlink"):
        ask = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda *given, ask=ask, **how: (asked.append(given), ask(*given, **how))[1]
        )
    assert len(collect_inputs([tmp_path])) == 300
    assert 0 < len(asked) < 150


def test_a_hundred_thousand_names_are_unique_within_seconds(processor_time):
    code = (
        "from moekit.prediction.inputs import _with_unique_names; "
        "found = {f'/a/{n // 1000}/{n % 1000}.png': f'{n % 1000}.png' "
        "for n in range(100_000)}; print(len({name for name, _ in _with_unique_names(found)}))"
    )
    seconds, done = processor_time(code)
    assert done.stdout.strip() == "100000"
    assert seconds < 10  # a second, and another one for the interpreter; it was six minutes


@pytest.mark.parametrize(
    "name", ["@eaDir", "$RECYCLE.BIN", "__MACOSX", "System Volume Information"]
)
def test_folders_that_a_system_keeps_for_itself_are_hidden(tmp_path, picture, name):
    for path in (
        tmp_path / "good/a.png",
        tmp_path / "good" / name / "a.png",
        tmp_path / name / "b.png",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
    assert find_images(tmp_path) == [tmp_path / "good/a.png"]
    assert survey_folder(tmp_path).images == (tmp_path / "good/a.png",)

"""Pictures next to listed ones that nobody lists are counted, whatever lists them."""

import pytest
from PIL import Image

from moekit.builtin.loaders.masks import load_masks
from moekit.builtin.loaders.table import read_table
from moekit.data import unlisted_notes


@pytest.fixture
def folder(tmp_path):
    """Eight pictures with masks, two text files and a folder called as a picture."""
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
        for number in range(8):
            shade = 30 * number if part == "images" else number % 2
            Image.new("L", (16, 16), shade).save(tmp_path / part / f"{number}.png")
        (tmp_path / part / "notes.txt").write_text("not a picture")
    (tmp_path / "images" / "folder.png").mkdir()
    return tmp_path


def test_all_listed_gives_no_note(folder):
    assert unlisted_notes(folder / "images" / f"{number}.png" for number in range(8)) == ()


def test_a_picture_of_a_kind_that_is_not_read_counts_too(folder):
    (folder / "images" / "8.JXL").write_bytes(b"whatever")
    (note,) = unlisted_notes(folder / "images" / f"{number}.png" for number in range(8))
    assert note.startswith("1 picture lies next to listed ones")
    assert note.endswith("such as images/8.JXL")


def test_no_name_is_given_if_names_may_identify_a_person(folder):
    (note,) = unlisted_notes([folder / "images" / "0.png"], named=False)
    assert "7 pictures" in note
    assert ".png" not in note


def test_a_folder_that_is_not_there_has_no_pictures(folder):
    assert unlisted_notes([folder / "nowhere" / "0.png"]) == ()


def test_a_label_table_tells_and_takes_masks_for_listed(folder):
    lines = [f"images/{n},{n % 2},masks/{n}" for n in range(7)]
    text = "\n".join(line.replace(",", ".png,", 1) + ".png" for line in lines)
    (folder / "labels.csv").write_text(f"path,label,mask\n{text}\n")
    notes = read_table(folder / "labels.csv").notes
    assert [note for note in notes if "not listed" in note] == [
        "2 pictures lie next to listed ones, are not listed and are left out, such as images/7.png"
    ]


def test_a_table_of_masks_tells_unless_it_is_asked_for_a_part(folder):
    text = "\n".join(f"{n},{('a', 'b')[n // 4]}" for n in range(7))
    (folder / "index.csv").write_text(f"id,set\n{text}\n")
    (folder / "classes.csv").write_text("number,name\n0,floor\n1,part\n")
    assert any("2 pictures lie next to" in note for note in load_masks(folder, 0).notes)
    part = load_masks(folder.with_name(f"{folder.name}?where=set:a"), 0)
    assert not any("lie next to" in note for note in part.notes)

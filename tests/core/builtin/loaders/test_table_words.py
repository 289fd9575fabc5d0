"""What a table says in two ways: names of classes, targets, masks, and which file is the table."""

import os
import unicodedata

import numpy as np
import pytest
from PIL import Image

from moekit.builtin.loaders.folder import load_folder
from moekit.testing import refused

ROWS = [(f"{number:02}.png", "good" if number < 8 else "bad") for number in range(16)]


@pytest.fixture
def table(tmp_path):
    """Writes 16 pictures and a table of them; loads it."""
    for number, (name, _) in enumerate(ROWS):
        pixels = np.random.default_rng(number).integers(0, 255, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)

    def load(header="path,label", *, more=lambda number: "", labels=None):
        labels = {} if labels is None else labels
        lines = [
            f"{name},{labels.get(number, label)}{more(number)}"
            for number, (name, label) in enumerate(ROWS)
        ]
        (tmp_path / "labels.csv").write_text("\n".join([header, *lines]), encoding="utf-8")
        return load_folder(tmp_path, 0)

    return load


def noted(dataset, text):
    return [note for note in dataset.notes if text in note]


def test_a_class_in_two_unicode_forms_is_one(table):
    stored = {number: unicodedata.normalize("NFD", "sch\u00e4dig") for number in range(8, 12)}
    written = dict.fromkeys(range(12, 16), "schädig")
    assert table(labels={**stored, **written}).classes == ("good", "sch\u00e4dig")


def test_a_group_in_two_unicode_forms_is_one(table):
    names = [unicodedata.normalize(form, "m\u00fcll") for form in ("NFC", "NFD")]
    splits = ("train", "train", "val", "test")
    with refused("data/leaking-group"):
        table(
            "path,label,split,group",
            more=lambda n: f",{splits[n % 4]},{names[n % 2] if n % 4 in (1, 2) else n}",
        )


@pytest.mark.parametrize("other", ["ba\u200bd", "Bad", "b ad", "\uff42ad"])
def test_classes_that_look_alike_are_told(table, other):
    dataset = table(labels={9: other, 10: other})
    (note,) = noted(dataset, "nearly the same")
    assert "'bad'" in note
    assert repr(other) in note


def test_classes_that_are_one_number_are_told(table):
    labels = {**dict.fromkeys(range(8, 12), "1"), **dict.fromkeys(range(12, 16), "1.0")}
    assert noted(table(labels=labels), "'1' and '1.0' are taken for 2 classes")
    assert not noted(table(labels=dict.fromkeys(range(8, 16), "1")), "taken for")


@pytest.mark.parametrize("name", ["nan", "None", "NULL"])
def test_a_class_that_tools_write_for_an_empty_cell_is_told(table, name):
    (note,) = noted(table(labels={9: name, 10: name}), "empty cell")
    assert repr(name) in note


def test_targets_that_contradict_their_labels_are_told(table):
    (note,) = noted(
        table("path,label,target", more=lambda n: f",{0.9 if n in (0, 1, *range(8, 16)) else 0.1}"),
        "the other side of 0.5",
    )
    assert "of 2 images" in note
    assert "00.png" in note
    assert not table("path,label,target", more=lambda n: f",{0.9 if n > 7 else 0.5}").notes


def test_targets_that_only_some_lines_have_are_told(table):
    dataset = table("path,label,target", more=lambda n: ",0.9" if n > 11 else ",")
    assert noted(dataset, "4 of 16 images have a target")


def test_a_target_of_two_numbers_is_none(table):
    with refused("data/bad-value", match="0_1"):
        table("path,label,target", more=lambda n: ",0_1")


def test_an_image_that_is_its_own_mask_is_refused(table):
    with refused("data/contradiction", match=r"1 image is its own mask.*09\.png"):
        table("path,label,mask", more=lambda n: ",09.png" if n == 9 else ",")


def test_images_that_share_a_mask_are_told(table):
    dataset = table("path,label,mask", more=lambda n: ",00.png" if n in (9, 11, 12) else ",")
    (note,) = noted(dataset, "the mask of another image")
    assert note.startswith("2 images")
    assert "11.png that of 09.png" in note


def test_the_table_is_found_in_upper_case(table, tmp_path):
    table()
    (tmp_path / "labels.csv").rename(tmp_path / "LABELS.CSV")
    assert len(load_folder(tmp_path, 0).samples) == 16
    (tmp_path / "Labels.csv").write_text("path,label\n")
    with refused("data/contradiction", match=r"LABELS\.CSV and Labels\.csv"):
        load_folder(tmp_path, 0)


def _link(path):
    path.symlink_to(path.name)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, _link])
def test_a_table_that_is_no_file_is_not_passed_over_for_class_folders(tmp_path, make):
    for number, (name, label) in enumerate(ROWS):
        (tmp_path / label).mkdir(exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 255, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / label / name)
    assert len(load_folder(tmp_path, 0).samples) == 16
    make(tmp_path / "labels.csv")
    with refused("data/unreadable", match=r"labels\.csv"):
        load_folder(tmp_path, 0)

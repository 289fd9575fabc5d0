"""Text files of shares, and XML files of corners: layouts and what is wrong with them."""

import os
import shutil
import unicodedata
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from moekit.testing import refused
from moekit_detection.loaders.voc import load_voc
from moekit_detection.loaders.voc import write_example as write_voc
from moekit_detection.loaders.yolo import load_yolo
from moekit_detection.loaders.yolo import write_example as write_yolo
from moekit_detection.records import objects_of

LABELS = "labels/train/01.txt"
SIZE = (40, 56)


def truth(dataset, name):
    (sample,) = [sample for sample in dataset.samples if sample.id.endswith(name)]
    return objects_of(sample)


def noted(dataset, text):
    return [note for note in dataset.notes if text in note]


@pytest.fixture
def yolo(tmp_path):
    write_yolo(tmp_path)

    def load(lines=None, query=""):
        if lines is not None:
            (tmp_path / LABELS).write_text(lines)
        return load_yolo(tmp_path.parent / f"{tmp_path.name}{query}", 0)

    return load


@pytest.fixture
def voc(tmp_path):
    write_voc(tmp_path)

    def load(text=None, query=""):
        if text is not None:
            (tmp_path / "Annotations/01.xml").write_text(text)
        return load_voc(tmp_path.parent / f"{tmp_path.name}{query}", 0)

    return load


def xml(*corners, name="disc", size=(56, 40), difficult=0):
    box = "".join(
        f"<{key}>{value}</{key}>"
        for key, value in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    )
    sides = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>"
    kind = f"<name>{name}</name><difficult>{difficult}</difficult>"
    return f"<annotation>{sides}<object>{kind}<bndbox>{box}</bndbox></object></annotation>"


def test_shares_become_pixels(yolo):
    dataset = yolo("1 0.5 0.25 0.5 0.5\n\n")
    found = truth(dataset, "01.png")
    assert found.box_G4.tolist() == [[14, 0, 28, 20]]
    assert found.label_G.tolist() == [1]
    assert dataset.classes == ("square", "disc")
    assert [len(dataset.split(name)) for name in ("train", "val", "test")] == [8, 4, 4]


def test_an_outline_becomes_its_box(yolo):
    dataset = yolo("0 0.25 0.25 0.5 0.75 0.75 0.5\n")
    assert truth(dataset, "01.png").box_G4.tolist() == [[14, 10, 28, 20]]
    assert noted(dataset, "1 objects are outlines")


def test_a_box_beyond_the_picture_is_cut_and_one_of_nan_is_dropped(yolo):
    dataset = yolo("0 1.0 0.5 0.5 0.5\n0 nan 0.5 0.5 0.5\n")
    assert truth(dataset, "01.png").box_G4.tolist() == [[42, 10, 14, 20]]
    assert noted(dataset, "1 boxes reach beyond their pictures and are cut, such as 01.txt, line 1")
    assert noted(dataset, "1 boxes hold something that is no finite number")


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("0 28 20 14 10", "data/not-shares", "28 is no share"),
        ("0 0.5 0.5 1.2 0.5", "data/not-shares", "1.2 is no share"),
        ("2 0.5 0.5 0.5 0.5", "data/unknown-class", "class 2 is not listed; there are 2"),
        ("-1 0.5 0.5 0.5 0.5", "data/unknown-class", "class -1"),
        ("0.5 0.5 0.5 0.5 0.5", "data/bad-line", "the class is 0.5"),
        ("nan 0.5 0.5 0.5 0.5", "data/bad-line", "the class is nan"),
        ("disc 0.5 0.5 0.5 0.5", "data/bad-line", "disc"),
        ("0 0.5 0.5 0.5", "data/row-length", "it has 4 numbers"),
        ("0 0.5 0.5 0.5 0.5 0.9", "data/row-length", "it has 6 numbers"),
    ],
)
def test_a_line_that_cannot_be_meant_is_refused_by_its_number(yolo, line, code, words):
    with refused(code, match=words) as failure:
        yolo(f"0 0.5 0.5 0.1 0.1\n{line}\n")
    assert "01.txt, line 2" in str(failure.value)


def test_pictures_without_label_files_and_files_without_pictures_are_counted(yolo, tmp_path):
    (tmp_path / LABELS).rename(tmp_path / "labels/train/99.txt")
    dataset = yolo()
    assert noted(dataset, "1 pictures have no label file")
    assert noted(dataset, "1 label files are of no picture and are passed over, such as 99.txt")
    assert len(truth(dataset, "01.png")) == 0


def test_pictures_that_are_not_read_are_named_and_their_labels_are_theirs(yolo, tmp_path):
    (tmp_path / "images/train/01.png").rename(tmp_path / "images/train/01.heic")
    dataset = yolo()
    (skip,) = dataset.skipped
    assert skip.id == "images/train/01.heic"
    assert ".heic" in skip.reason
    assert not noted(dataset, "label files are of no picture")
    assert len(dataset.samples) == 15


def test_an_annotated_picture_that_is_not_read_is_named_with_the_reason(voc, tmp_path):
    (tmp_path / "JPEGImages/01.png").rename(tmp_path / "JPEGImages/01.heic")
    dataset = voc()
    (skip,) = dataset.skipped
    assert skip.id == "01"
    assert ".heic" in skip.reason
    assert len(dataset.samples) == 15


def test_a_set_of_pictures_that_are_not_read_is_refused_with_the_cause(yolo, tmp_path):
    for path in (tmp_path / "images").rglob("*.png"):
        path.rename(path.with_suffix(".heic"))
    with refused("data/wrong-layout", match=r"none of the 16 pictures can be used.*\.heic"):
        yolo()


def test_pictures_of_the_usual_folder_go_before_others_of_their_names(voc, tmp_path):
    (tmp_path / "Crops").mkdir()
    Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(tmp_path / "Crops/01.png")
    dataset = voc()
    assert "JPEGImages/01.png" in {sample.id for sample in dataset.samples}
    assert len(dataset.samples) == 16


def test_an_empty_label_file_is_a_picture_without_objects(yolo):
    dataset = yolo("")
    assert len(truth(dataset, "01.png")) == 0
    assert not noted(dataset, "no label file")


def test_names_of_classes_come_from_where_they_are(yolo, tmp_path):
    (tmp_path / "data.yaml").write_text("names: [a, b]\n")
    assert yolo().classes == ("a", "b")
    assert load_yolo(tmp_path / "data.yaml", 0).classes == ("a", "b")
    assert yolo(query="?classes=c,d,e").classes == ("c", "d", "e")
    (tmp_path / "data.yaml").unlink()
    with refused("data/class-list", match="no list of classes"):
        yolo()
    (tmp_path / "classes.txt").write_text("f\ng\n")
    assert yolo().classes == ("f", "g")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("nc: 2\n", "data/class-list"),
        ("names: [a, a]\n", "data/class-list"),
        ("names: {0: a, 2: b}\n", "data/class-list"),
        ("names: [\n", "data/unreadable"),
        ("!!python/object/apply:os.getcwd []\n", "data/unreadable"),
        ("names: " + "[" * 3000, "data/unreadable"),
        ("names: [[a], [b]]\n", "data/class-list"),
        ("names: [square, disc]\nnames: [disc, square]\n", "data/contradiction"),
        ("nc: 3\nnames: [square, disc]\n", "data/contradiction"),
    ],
)
def test_a_configuration_without_names_is_refused(yolo, tmp_path, text, code):
    (tmp_path / "data.yaml").write_text(text)
    with refused(code, match=r"data\.yaml"):
        yolo()


@pytest.mark.parametrize("text", ["[NO, 1.50]", "{0: NO, 1: 1.50}", "{'0': 'NO', '1': '1.50'}"])
def test_names_are_taken_as_they_are_written(yolo, tmp_path, text):
    (tmp_path / "data.yaml").write_text(f"nc: 2\nnames: {text}\n")
    assert yolo().classes == ("NO", "1.50")


def test_a_list_that_names_itself_many_times_over_is_not_unfolded(yolo, tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    (tmp_path / "data.yaml").write_text("\n".join([*lines, "names: *a29"]))
    with refused("data/class-list", match=r"data\.yaml"):
        yolo()


def test_pictures_that_share_a_label_file_are_counted(yolo, tmp_path):
    picture = tmp_path / "images/train/01.png"
    with Image.open(picture) as image:
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(picture.with_suffix(".jpg"))
    assert noted(yolo(), "1 pictures have the label file of another one")


def test_a_folder_without_label_files_is_refused(tmp_path):
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "classes.txt").write_text("a\n")
    with refused("data/wrong-layout", match="no label file"):
        load_yolo(tmp_path, 0)


def test_label_files_next_to_pictures_of_no_split(tmp_path):
    for number in range(12):
        pixels = np.full((8, 8, 3), number, np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        (tmp_path / f"{number}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (tmp_path / "classes.txt").write_text("a\n")
    dataset = load_yolo(tmp_path, 0)
    assert dataset.split_names() == ("train", "val", "test")
    assert dataset.classes == ("a",)
    assert not noted(dataset, "label files")


def test_corners_count_from_one_and_the_last_pixel_belongs(voc):
    dataset = voc(xml(1, 2, 10, 12))
    assert truth(dataset, "01.png").box_G4.tolist() == [[0, 1, 10, 11]]
    assert dataset.classes == ("disc", "square")
    assert [len(dataset.split(name)) for name in ("train", "val", "test")] == [8, 4, 4]


def test_a_set_with_a_zero_counts_from_zero_and_says_so(voc):
    dataset = voc(xml(0, 2, 10, 12))
    assert truth(dataset, "01.png").box_G4.tolist() == [[0, 2, 10, 10]]
    assert noted(dataset, "counted from 0")
    again = voc(query="?origin=1")
    assert truth(again, "01.png").box_G4.tolist() == [[0, 1, 10, 11]]
    assert noted(again, "are cut")


def test_difficult_objects_are_crowds_unless_something_else_is_asked(voc):
    dataset = voc(xml(1, 2, 10, 12, difficult=1))
    assert truth(dataset, "01.png").crowd_G.tolist() == [True]
    assert noted(dataset, "1 objects are marked difficult")
    assert truth(voc(query="?difficult=keep"), "01.png").crowd_G.tolist() == [False]
    assert len(truth(voc(query="?difficult=drop"), "01.png")) == 0
    with refused("data/bad-option", match="crowd, keep, drop"):
        voc(query="?difficult=hide")


def test_a_size_that_is_missing_is_the_picture_s(voc):
    dataset = voc(xml(1, 2, 10, 12, size=(0, 0)))
    assert noted(dataset, "1 annotations say no size")
    (skipped,) = voc(xml(1, 2, 10, 12, size=(100, 40))).skipped
    assert "100 x 40" in skipped.reason


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("<annotation>", "data/unreadable", "XML"),
        (
            '<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>',
            "data/unreadable",
            "entities",
        ),
        ('<?xml version="1.0" encoding="none-such"?><annotation/>', "data/unreadable", "none-such"),
        ("<html/>", "data/wrong-layout", "'html'"),
        ('<annotation xmlns="http://a"/>', "data/wrong-layout", "http://a"),
        (xml(1, 2, 10, "wide"), "data/bad-box", "ymax 'wide'"),
        (xml(1, 2, 10, 12, name=" "), "data/wrong-layout", "object 1 has no name"),
        (
            "<annotation><object><name>a</name></object></annotation>",
            "data/bad-box",
            "xmin None",
        ),
    ],
)
def test_a_damaged_annotation_is_named(voc, text, code, words):
    with refused(code, match=words) as failure:
        voc(text)
    assert "01.xml" in str(failure.value)


@pytest.mark.parametrize("name", ["name", "bndbox", "difficult", "size", "xmin"])
def test_an_annotation_that_says_something_twice_is_refused(voc, name):
    text = xml(3, 4, 10, 20)
    element = ElementTree.fromstring(text).find(f".//{name}")
    again = ElementTree.tostring(element, encoding="unicode")
    assert again in text
    with refused("data/contradiction", match=f"has {name} twice"):
        voc(text.replace(again, again + again))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-be"])
def test_entities_are_refused_in_any_encoding(voc, tmp_path, encoding):
    text = xml(1, 2, 10, 12, name="&b;").replace(
        "<annotation>", '<!DOCTYPE a [<!ENTITY b "disc">]><annotation>'
    )
    head = f'<?xml version="1.0" encoding="{encoding[:6]}"?>'
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    (tmp_path / "Annotations/01.xml").write_bytes(f"{mark}{head}{text}".encode(encoding))
    with refused("data/unreadable", match="entities"):
        voc()


@pytest.mark.parametrize("word", ["true", "1", "Yes"])
def test_difficult_is_read_as_a_word_too(voc, word):
    assert truth(voc(xml(1, 2, 10, 12, difficult=word)), "01.png").crowd_G.tolist() == [True]


def test_a_list_may_name_the_files_and_must_be_text(voc, tmp_path):
    lists = sorted((tmp_path / "ImageSets/Main").glob("*.txt"))
    for file in lists:
        file.write_text("".join(f"{name}.png\n" for name in file.read_text().split()))
    assert not voc().skipped
    lists[0].write_bytes(lists[0].read_text().encode("utf-16"))
    with refused("data/unreadable", match=lists[0].name):
        voc()


def test_classes_can_be_listed_and_others_are_refused(voc):
    assert voc(query="?classes=square,disc,ring").classes == ("square", "disc", "ring")
    with refused("data/unknown-class", match="'square'"):
        voc(query="?classes=disc")


def test_lists_and_files_that_do_not_meet_are_told(voc, tmp_path):
    (tmp_path / "Annotations/02.xml").unlink()
    (tmp_path / "JPEGImages/03.png").unlink()
    lines = (tmp_path / "ImageSets/Main/train.txt").read_text().replace("04\n", "")
    (tmp_path / "ImageSets/Main/train.txt").write_text(lines)
    reasons = {skip.id: skip.reason for skip in voc().skipped}
    assert set(reasons) == {"02", "03", "04"}
    assert "no XML file" in reasons["02"]
    assert "no picture" in reasons["03"]
    assert "no list" in reasons["04"]
    (tmp_path / "ImageSets/Main/val.txt").write_text("01\n")
    with refused("data/leaking-group", match="01 is listed in train too"):
        voc()


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_a_list_that_is_no_file_is_refused(voc, tmp_path, make):
    path = tmp_path / "ImageSets/Main/train.txt"
    path.unlink()
    make(path)
    with refused("data/unreadable", match="the list cannot be read") as failure:
        voc()
    assert "train.txt" in failure.value.whose


def test_trainval_and_test_become_three_splits(voc, tmp_path):
    lists = tmp_path / "ImageSets/Main"
    lines = [(lists / f"{name}.txt").read_text() for name in ("train", "val")]
    (lists / "trainval.txt").write_text("".join(lines))
    for name in ("train", "val"):
        (lists / f"{name}.txt").unlink()
    dataset = voc()
    assert dataset.split_names() == ("train", "val", "test")
    assert len(dataset.split("test")) == 4


@pytest.mark.parametrize(("stored", "written"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_with_an_umlaut_meet_in_either_form(yolo, voc, tmp_path, stored, written):
    """The pictures lie in both layouts."""
    name, other = (unicodedata.normalize(form, "Größe") for form in (stored, written))
    for file in ("images/train/01.png", "JPEGImages/01.png"):
        (tmp_path / file).rename((tmp_path / file).with_stem(name))
    for file in (LABELS, "Annotations/01.xml"):
        (tmp_path / file).rename((tmp_path / file).with_stem(other))
    listed = tmp_path / "ImageSets/Main/train.txt"
    listed.write_text(listed.read_text().replace("01", other))
    assert len(truth(voc(), "e.png").label_G) > 0
    for part in ("JPEGImages", "Annotations", "ImageSets"):
        shutil.rmtree(tmp_path / part)
    dataset = yolo()
    assert len(truth(dataset, "e.png").label_G) > 0
    assert not noted(dataset, "label file")


def test_a_picture_without_xml_is_left_out_by_name(voc, tmp_path):
    shutil.rmtree(tmp_path / "ImageSets")
    (tmp_path / "Annotations/01.xml").unlink()
    (skip,) = voc().skipped
    assert (skip.id, skip.reason) == ("JPEGImages/01.png", "there is no XML file of its name")

"""More than two classes in folders and tables, and the options of a path."""

import collections
import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from moekit.builtin.loaders.finish import keep_shots
from moekit.builtin.loaders.folder import load_folder
from moekit.data.many_classes import gap_notes
from moekit.testing import refused

FRUIT = ("apple", "pear", "plum")


def draw(path, number):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((8, 8, 3), number % 251, dtype=np.uint8)
    pixels[0, 0] = divmod(number, 251)[0]
    Image.fromarray(pixels).save(path)


@pytest.fixture
def fruit(tmp_path):
    """Ten pictures of each of three fruits, no two alike."""
    for label, name in enumerate(FRUIT):
        for number in range(10):
            draw(tmp_path / "fruit" / name / f"{number}.png", 20 * label + number)
    return tmp_path / "fruit"


def table(folder, text, classes=None):
    for number in range(12):
        draw(folder / f"{number}.png", number)
    (folder / "labels.csv").write_text(text)
    if classes is not None:
        (folder / "classes.txt").write_text(classes)
    return folder


def labelled(names, header="path,label"):
    rows = [f"{number}.png,{names[number % len(names)]}" for number in range(12)]
    return "\n".join([header, *rows])


def count(dataset, split):
    return collections.Counter(s.label for s in dataset.samples if s.split == split)


def test_an_empty_label_names_the_column_for_several_labels(tmp_path):
    with refused("data/empty-cell") as caught:
        load_folder(table(tmp_path, labelled(["apple", ""])), 0)
    assert caught.value.exit_code == 4
    assert "line 3" in caught.value.whose
    assert "column labels" in caught.value.fix
    assert load_folder(table(tmp_path, labelled(["apple|pear", ""], "path,labels")), 0)


def test_folders_are_classes_in_the_order_of_their_names(fruit):
    dataset = load_folder(fruit, 0)
    assert dataset.classes == FRUIT
    assert not dataset.has_negative
    assert all(dataset.classes[s.label] == Path(s.id).parts[0] for s in dataset.samples)
    assert set(count(dataset, "train")) == {0, 1, 2}


def test_of_three_classes_a_negative_name_comes_where_it_sorts(fruit):
    (fruit / "pear").rename(fruit / "good")
    assert load_folder(fruit, 0).classes == ("apple", "good", "plum")


def test_two_classes_without_a_negative_are_sorted_and_marked(fruit):
    shutil.rmtree(fruit / "apple")
    dataset = load_folder(fruit, 0)
    assert dataset.classes == ("pear", "plum")
    assert not dataset.has_negative
    assert not dataset.negatives_only


def test_two_classes_with_a_negative_are_as_ever(fruit):
    shutil.rmtree(fruit / "apple")
    (fruit / "plum").rename(fruit / "normal")
    dataset = load_folder(fruit, 0)
    assert dataset.classes == ("normal", "pear")
    assert dataset.has_negative


def move(folder, name, split, numbers):
    for number in numbers:
        target = folder.parent / "set" / split / name / f"{number}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(folder / name / f"{number}.png", target)


@pytest.fixture
def split_fruit(fruit):
    """Seven of each in train, three of two fruits in val."""
    for name in FRUIT:
        move(fruit, name, "train", range(7))
    for name in FRUIT[:2]:
        move(fruit, name, "val", range(7, 10))
    return fruit.parent / "set"


def test_a_class_that_val_lacks_is_noted_and_allowed(split_fruit):
    dataset = load_folder(split_fruit, 0)
    assert dataset.split_note == "as given; val lacks 1 of 3 classes (plum)"
    assert count(dataset, "val") == {0: 3, 1: 3}


def test_a_class_that_train_lacks_is_named(split_fruit):
    shutil.move(split_fruit / "train/plum", split_fruit / "val/plum")
    with refused("data/missing-class", match="'plum'"):
        load_folder(split_fruit, 0)


def test_a_class_named_like_a_split_is_a_class_inside_a_split(split_fruit):
    for split in ("train", "val"):
        (split_fruit / split / "apple").rename(split_fruit / split / "test")
    dataset = load_folder(split_fruit, 0)
    assert dataset.classes == ("pear", "plum", "test")
    assert dataset.split_names() == ("train", "val")


def test_a_folder_beside_the_splits_is_no_class(split_fruit):
    draw(split_fruit / "old" / "kiwi" / "1.png", 240)
    dataset = load_folder(split_fruit, 0)
    assert dataset.classes == FRUIT
    assert [skip.reason for skip in dataset.skipped] == ["it lies outside the splits"]


def test_all_training_images_of_one_class_of_three_are_no_negatives(split_fruit):
    shutil.rmtree(split_fruit / "train/pear")
    shutil.move(split_fruit / "train/plum", split_fruit / "val/plum")
    with refused("data/missing-class", match="'pear'"):
        load_folder(split_fruit, 0)


@pytest.mark.parametrize("seed", range(6))
def test_a_class_of_one_image_or_one_group_is_trained_on(tmp_path, seed):
    rows = [f"{number}.png,{'abc'[number % 3]}" for number in range(11)] + ["11.png,rare"]
    folder = table(tmp_path, "\n".join(["path,label", *rows]))
    dataset = load_folder(folder, seed)
    assert count(dataset, "train")[3] == 1
    grouped = [f"{row},g{number // 2}" for number, row in enumerate(rows)]
    grouped[10], grouped[11] = "10.png,b,last", "11.png,rare,last"
    (folder / "labels.csv").write_text("\n".join(["path,label,group", *grouped]))
    dataset = load_folder(folder, seed)
    assert {s.split for s in dataset.samples if s.group == "last"} == {"train"}


@pytest.mark.parametrize("shots", [1, 2, 5])
def test_shots_keep_that_many_training_images_a_class(split_fruit, shots):
    full = load_folder(split_fruit, 0)
    few = load_folder(Path(f"{split_fruit}?shots={shots}"), 0)
    assert count(few, "train") == dict.fromkeys(range(3), shots)
    assert few.split("val") == full.split("val")
    assert f"{21 - 3 * shots} are left out" in few.split_note
    more = {s.id for s in load_folder(Path(f"{split_fruit}?shots={shots + 1}"), 0).samples}
    assert {s.id for s in few.samples} <= more


def test_seeds_draw_other_shots(split_fruit):
    drawn = [
        {s.id for s in load_folder(Path(f"{split_fruit}?shots=2"), seed).split("train")}
        for seed in (0, 1)
    ]
    assert drawn[0] != drawn[1]


def test_more_shots_than_there_are_keep_all_and_say_so(split_fruit):
    dataset = load_folder(Path(f"{split_fruit}?shots=99"), 0)
    assert len(dataset.split("train")) == 21
    assert "3 classes have fewer" in dataset.split_note


def test_shots_of_negatives_only_keep_negatives(fruit):
    for name in FRUIT[1:]:
        shutil.rmtree(fruit / name)
    (fruit / "apple").rename(fruit / "good")
    dataset = load_folder(Path(f"{fruit}?shots=3"), 0)
    assert dataset.negatives_only
    assert len(dataset.split("train")) == 3


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5"])
def test_a_wrong_number_of_shots_is_refused(fruit, text):
    with refused("data/bad-option", match="'shots'"):
        load_folder(Path(f"{fruit}?shots={text}"), 0)


def test_an_unknown_option_names_the_known_ones(fruit):
    with refused("data/bad-option", match="shots, unseen"):
        load_folder(Path(f"{fruit}?shot=1"), 0)


def test_a_folder_with_a_question_mark_in_its_name_is_read(fruit):
    fruit.rename(fruit.parent / "what?")
    assert len(load_folder(fruit.parent / "what?", 0).samples) == 30


def test_unseen_classes_are_not_trained_on_and_judge_the_open_set(fruit):
    draw(fruit / "zucchini" / "0.png", 200)
    dataset = load_folder(Path(f"{fruit}?unseen=pear"), 0)
    assert dataset.classes == ("apple", "plum", "zucchini")
    strange = [s for s in dataset.samples if s.label == -1]
    assert {Path(s.id).parts[0] for s in strange} == {"pear"}
    assert {s.split for s in strange} == {"test"}
    assert len(strange) == 10
    assert all(
        dataset.classes[s.label] == Path(s.id).parts[0] for s in dataset.samples if s.label >= 0
    )
    assert "10 images of the classes pear are of no class" in dataset.split_note


def test_unseen_images_of_given_splits_stay_there_and_those_of_train_are_left_out(split_fruit):
    draw(split_fruit / "train/kiwi/0.png", 200)
    dataset = load_folder(Path(f"{split_fruit}?unseen=pear"), 0)
    strange = [s for s in dataset.samples if s.label == -1]
    assert {s.split for s in strange} == {"val"}
    assert len(strange) == 3
    assert "7 of their training images are left out" in dataset.split_note


@pytest.mark.parametrize("names", ["kiwi", "apple,plum"])
def test_unseen_classes_that_cannot_be_are_refused(fruit, names):
    with refused("data/bad-option", match="unseen"):
        load_folder(Path(f"{fruit}?unseen={names}"), 0)


def test_a_table_holds_any_number_of_classes(tmp_path):
    dataset = load_folder(table(tmp_path, labelled(["x", "z", "y"])), 0)
    assert dataset.classes == ("x", "y", "z")


def test_the_column_labels_holds_several(tmp_path):
    folder = table(tmp_path, labelled(["a|c", "b", "", "c | a|a"], "path,labels"))
    dataset = load_folder(folder, 0)
    assert dataset.classes == ("a", "b", "c")
    found = {s.id: s.labels for s in dataset.samples}
    assert [found[f"{number}.png"] for number in range(4)] == [(0, 2), (1,), (), (0, 2)]
    assert not dataset.negatives_only


def test_several_labels_in_the_column_of_one_are_no_class_of_their_own(tmp_path):
    folder = table(tmp_path, labelled(["a", "a|b", "b"], "path,label"))
    with refused("data/several-labels", match="column label holds"):
        load_folder(folder, 0)


def test_a_table_of_several_labels_that_names_one_class_is_refused(tmp_path):
    with refused("data/class-count"):
        load_folder(table(tmp_path, labelled(["a", ""], "path,labels")), 0)


def test_a_list_of_classes_gives_their_order(tmp_path):
    folder = table(tmp_path, labelled(["x", "z", "y"]), "z\nx\n\ny\n")
    dataset = load_folder(folder, 0)
    assert dataset.classes == ("z", "x", "y")
    assert {s.label for s in dataset.samples if s.id == "1.png"} == {0}


@pytest.mark.parametrize("header", ["path,label", "path,labels"])
def test_a_label_that_is_not_in_the_list_is_refused_with_its_line(tmp_path, header):
    folder = table(tmp_path, labelled(["x", "z", "y"], header), "z\nx\n")
    with refused("data/unknown-class", match=r"'y'.*classes\.txt") as caught:
        load_folder(folder, 0)
    assert caught.value.whose.endswith("line 4")


@pytest.mark.parametrize("classes", ["a\n", "", "a\nb\na\n"])
def test_a_list_that_is_none_is_refused(tmp_path, classes):
    with refused("data/class-list"):
        load_folder(table(tmp_path, labelled(["a", "b", "c"]), classes), 0)


@pytest.mark.parametrize(
    ("text", "code", "named"),
    [
        ("path,label\n0.png,a\n1.png,b\n0.png,c", "data/duplicate-id", r"0\.png"),
        (
            "path,label,split\n0.png,a,train\n1.png,b,training\n2.png,c,val",
            "data/unknown-split",
            "'training'",
        ),
        ("path,label\n0.png,a\n1.png,\n2.png,c", "data/empty-cell", "line 3"),
        ("path,label,labels\n0.png,a,b\n1.png,b,b\n2.png,c,b", "data/bad-header", "labels"),
    ],
)
def test_lines_that_cannot_be_meant_are_refused(tmp_path, text, code, named):
    with refused(code, match=named):
        load_folder(table(tmp_path, text), 0)


def test_shots_count_each_label_of_a_sample(tmp_path):
    rows = ["a|b", "a", "b", "c", "c", ""]
    dataset = load_folder(table(tmp_path, labelled(rows, "path,labels")), 0)
    whole = dataset.with_samples(
        dataclasses.replace(sample, split="train") for sample in dataset.samples
    )
    kept = keep_shots(whole, 1, seed=3).samples
    counts = collections.Counter(label for s in kept for label in s.labels or ("none",))
    assert set(counts) == {0, 1, 2, "none"}
    assert len(kept) <= 4


def test_folders_without_a_picture_are_named(fruit):
    assert not load_folder(fruit, 0).notes
    (fruit / "quince").mkdir()
    (fruit / ".hidden").mkdir()
    (fruit / "medlar/sub").mkdir(parents=True)
    (fruit / "medlar/sub/notes.txt").write_text("none yet")
    (note,) = load_folder(fruit, 0).notes
    assert note == "2 folders hold no picture and are no classes here: medlar, quince"


def test_empty_folders_of_splits_are_named_too(fruit, tmp_path):
    for split in ("train", "test"):
        shutil.copytree(fruit, tmp_path / "set" / split)
    for number, path in enumerate(sorted((tmp_path / "set/test").rglob("*.png"))):
        draw(path, 100 + number)
    shutil.rmtree(tmp_path / "set/test/pear")
    (tmp_path / "set/test/pear").mkdir()
    (tmp_path / "set/val").mkdir()
    dataset = load_folder(tmp_path / "set", 0)
    assert "2 folders hold no picture and are no classes here: val, test/pear" in dataset.notes
    (gap,) = gap_notes(dataset, ("test",))
    assert gap == "test lacks 1 of 3 classes (pear): what is missing cannot be judged there"


def test_a_set_of_negatives_lacks_the_other_class_of_val_by_design(fruit):
    shutil.rmtree(fruit / "plum")
    (fruit / "apple").rename(fruit / "good")
    dataset = load_folder(fruit, 0)
    assert gap_notes(dataset, ("val", "test")) == ()
    normal = dataset.with_samples(one for one in dataset.samples if one.label == 0)
    assert [note[:27] for note in gap_notes(normal, ("val", "test"))] == [
        "test lacks 1 of 2 classes ("
    ]

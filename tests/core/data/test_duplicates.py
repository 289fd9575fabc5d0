"""Equal files in two splits are kept, dropped or refused, as the user says."""

import dataclasses
import shutil

import pytest

from moekit import Dataset, Sample
from moekit.builtin.loaders.folder import load_folder
from moekit.data.duplicates import DROP, KEEP, REFUSE, SHOWN, duplicates, settle_duplicates
from moekit.testing import refused


def spread(folder, contents, splits):
    """A set with a file for each letter; equal letters are equal files."""
    samples = []
    for number, (content, split) in enumerate(zip(contents, splits, strict=True)):
        path = folder / f"{number:02}.png"
        path.write_text(content)
        samples.append(Sample(id=path.name, path=path, label=number % 2, split=split))
    return Dataset(name="letters", samples=tuple(samples), classes=("even", "odd"))


@pytest.fixture
def letters(tmp_path):
    """Two of five training files lie in test or val too, and one of val in test."""
    splits = ["train"] * 5 + ["val"] * 2 + ["test"] * 2
    return spread(tmp_path, "abcdeaxbx", splits)


def ids(dataset, split):
    return [sample.id for sample in dataset.split(split)]


def test_drop_leaves_out_of_a_split_what_a_later_one_holds_and_counts_it(letters):
    letters = letters.with_samples(dataclasses.replace(one, label=0) for one in letters.samples)
    done = settle_duplicates(letters, DROP)
    assert ids(done, "train") == ["02.png", "03.png", "04.png"]
    assert ids(done, "val") == ["05.png"]
    assert ids(done, "test") == ["07.png", "08.png"]
    (note,) = done.notes
    assert note.startswith("2 of train and 1 of val are left out")


def test_keep_changes_nothing_and_says_how_many_there_are(letters):
    done = settle_duplicates(letters, KEEP)
    assert done.samples == letters.samples
    assert "3 pairs of equal files lie in two splits" in done.notes[0]


def test_refuse_names_the_first_pairs_and_gives_all_to_programs(tmp_path):
    count = SHOWN + 3
    names = [chr(97 + number) for number in range(count)]
    dataset = spread(tmp_path, names * 2, ["train"] * count + ["test"] * count)
    with refused("data/same-image", match="as 12 other pairs") as caught:
        settle_duplicates(dataset, REFUSE)
    assert caught.value.what.count(" and ") == SHOWN
    pairs = caught.value.details["pairs"]
    assert len(pairs) == count
    assert pairs[0] == [["00.png", "train"], ["13.png", "test"]]


def test_without_equal_files_no_policy_changes_or_says_anything(tmp_path):
    dataset = spread(tmp_path, "abcd", ["train", "train", "val", "test"])
    for policy in (None, KEEP, DROP, REFUSE):
        assert settle_duplicates(dataset, policy) == dataset


def test_equal_files_of_two_classes_in_one_split_are_refused_even_if_copies_are_dropped(tmp_path):
    dataset = spread(tmp_path, "aab", ["train", "train", "test"])
    with refused("data/same-image", match="of two classes|same file"):
        settle_duplicates(dataset, DROP)


def test_a_class_that_training_would_lose_is_named(tmp_path):
    dataset = spread(tmp_path, "abcdzb", ["train", "train", "train", "val", "val", "test"])
    with refused("data/missing-class", match="'odd'"):
        settle_duplicates(dataset, DROP)


def test_a_loader_that_refuses_copies_takes_them_if_the_user_says_so(two_class_folder):
    for split in ("train", "test"):
        for name in ("good", "scratched"):
            shutil.copytree(two_class_folder / name, two_class_folder / split / name)
    for name in ("good", "scratched"):
        shutil.rmtree(two_class_folder / name)
    with refused("data/same-image"):
        load_folder(two_class_folder, 0)
    with duplicates(KEEP):
        assert load_folder(two_class_folder, 0).split_names() == ("train", "val", "test")

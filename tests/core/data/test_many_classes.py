"""Splits of more than two classes."""

import collections

import pytest

from moekit import Dataset, Sample, split_dataset
from moekit.data.many_classes import train_what_it_lacks
from moekit.data.splits import complete_splits
from moekit.testing import refused


def make(tmp_path, labels, *, classes=None, split=None, group=None):
    count = max(labels) + 1 if classes is None else classes
    return Dataset(
        name="made",
        classes=tuple(f"c{label}" for label in range(count)),
        samples=tuple(
            Sample(
                id=f"{row:04}",
                path=tmp_path / str(row),
                label=label,
                split=None if split is None else split[row],
                group=None if group is None else group[row],
            )
            for row, label in enumerate(labels)
        ),
    )


@pytest.mark.parametrize("seed", range(5))
def test_a_hundred_classes_of_any_size_are_all_trained_on(tmp_path, seed):
    labels = [label for label in range(100) for _ in range(1 + (label * 7 + seed) % 5)]
    done = split_dataset(make(tmp_path, labels), seed=seed)
    assert {s.label for s in done.samples if s.split == "train"} == set(range(100))
    counts = collections.Counter(s.split for s in done.samples)
    assert counts["val"] > 0.08 * len(labels)
    assert counts["test"] > 0.15 * len(labels)
    assert "val lacks" in done.split_note


def test_large_classes_keep_their_shares_and_nothing_is_noted(tmp_path):
    done = split_dataset(make(tmp_path, [row % 5 for row in range(500)]), seed=0)
    for label in range(5):
        counts = collections.Counter(s.split for s in done.samples if s.label == label)
        assert counts == {"train": 60, "val": 15, "test": 25}
    assert "lacks" not in done.split_note


def test_a_note_names_five_classes_and_counts_the_rest(tmp_path):
    labels = list(range(9)) * 2
    split = ["train"] * 9 + ["val"] + ["train"] * 8
    given = make(tmp_path, labels, split=split)
    for sample in given.samples:
        sample.path.write_text(sample.id)
    note = complete_splits(given, seed=0).split_note
    assert note == "as given; val lacks 8 of 9 classes (c1, c2, c3, c4, c5 and 3 more)"


def test_a_class_without_any_image_is_named(tmp_path):
    with refused("data/missing-class", match="'c3'") as caught:
        split_dataset(make(tmp_path, [0, 1, 2] * 10, classes=4), seed=0)
    assert "each class" in caught.value.fix


def test_a_validation_split_of_no_class_is_refused(tmp_path):
    given = make(tmp_path, [0, 1, 2, -1], classes=3, split=["train"] * 3 + ["val"])
    with refused("data/empty-split", match="val"):
        complete_splits(given, seed=0)


def test_the_smallest_group_moves_to_train_as_a_whole(tmp_path):
    given = make(tmp_path, [0, 1, 2, 2, 2, 0], group=["a", "b", "c", "c", "d", "d"])
    split_of = {"0000": "train", "0001": "train", "0002": "val", "0003": "val"}
    moved = train_what_it_lacks(given.samples, {**split_of, "0004": "test", "0005": "test"})
    assert moved == {"0002": "train", "0003": "train"}
    assert not train_what_it_lacks(
        given.samples, dict.fromkeys(split_of, "train") | {"0004": "val", "0005": "val"}
    )

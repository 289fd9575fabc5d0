"""A score needs two classes, of which one is the negative."""

import dataclasses

import pytest

from moekit import Dataset, Sample
from moekit.builtin.loaders.folder import load_folder
from moekit.tasks.score.data_check import two_classes_check
from moekit.testing import refused


def folder(tmp_path, text):
    for number in range(40):
        (tmp_path / f"{number}.png").write_bytes(str(number).encode())
    (tmp_path / "labels.csv").write_text(text)
    return load_folder(tmp_path, 0)


def lines(names, header="path,label"):
    rows = [f"{number}.png,{names[number % len(names)]}" for number in range(40)]
    return "\n".join([header, *rows])


def test_good_and_another_are_accepted(tmp_path):
    two_classes_check(folder(tmp_path, lines(["dent", "good"])))


def test_classes_of_loaders_that_know_their_negative_are_accepted(tmp_path):
    samples = tuple(Sample(id=str(n), path=tmp_path, label=n) for n in range(2))
    two_classes_check(Dataset(name="m", samples=samples, classes=("label 0", "label 1")))


@pytest.mark.parametrize(
    ("names", "code", "named"),
    [
        (["good", "dent", "scratch"], "data/class-count", r"\(dent, good, scratch\)"),
        (["cat", "dog"], "data/unclear-negative", "'cat' and 'dog'"),
        (["good", "ok"], "data/unclear-negative", ""),
    ],
)
def test_other_classes_are_refused_with_the_words_of_always(tmp_path, names, code, named):
    with refused(code, match=named) as caught:
        two_classes_check(folder(tmp_path, lines(names)))
    assert "good, normal, ok" in caught.value.fix


def test_several_labels_are_refused(tmp_path):
    dataset = folder(tmp_path, lines(["a", "b", "a|b"], "path,labels"))
    with refused("data/unclear-negative"):
        two_classes_check(dataset)
    with refused("data/several-labels"):
        two_classes_check(dataclasses.replace(dataset, has_negative=True))

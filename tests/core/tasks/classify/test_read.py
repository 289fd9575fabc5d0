"""Answers of a peer are read strictly."""

import numpy as np
import pytest

from moekit import Sample
from moekit.contract.answers import TaskContext
from moekit.data.geometry import Frame
from moekit.tasks.classify.read import read_answers
from moekit.testing import refused

CONTEXT = TaskContext(classes=("a", "b", "c"), vocabulary={}, frame=Frame(height=32, width=32))


@pytest.fixture
def split(tmp_path):
    return [Sample(id=f"{n}.png", path=tmp_path, label=n % 3, group="g") for n in range(3)]


def read(tmp_path, split, text, name="predictions.csv"):
    (tmp_path / name).write_text(text, encoding="utf-8")
    return read_answers(tmp_path / name, split, CONTEXT)


def test_probabilities_are_read_in_any_order(tmp_path, split):
    text = "id,c,a,b\n2.png,0.5,0.25,0.25\n0.png,0,1,0\n1.png,0.2,0.2,0.6\n"
    made = read(tmp_path, split, text)
    assert made.ids == ("0.png", "1.png", "2.png")
    np.testing.assert_allclose(made.probability_NC, [[1, 0, 0], [0.2, 0.6, 0.2], [0.25, 0.25, 0.5]])
    assert made.labels_N.tolist() == [0, 1, 2]
    assert made.groups == ("g", "g", "g")


def test_a_folder_is_read_by_its_predictions(tmp_path, split):
    read(tmp_path, split, "id,label\n0.png,a\n1.png,a\n2.png,c\n")
    made = read_answers(tmp_path, split, CONTEXT)
    assert made.probability_NC.argmax(1).tolist() == [0, 0, 2]


def test_rounded_probabilities_are_scaled_to_one(tmp_path, split):
    lines = "".join(f"{n}.png,0.333,0.333,0.3335\n" for n in range(3))
    made = read(tmp_path, split, f"id,a,b,c\n{lines}")
    np.testing.assert_allclose(made.probability_NC.sum(1), 1, atol=1e-12)


def test_several_labels_are_read_as_names_and_as_probabilities(tmp_path):
    split = [Sample(id="x", path=tmp_path, label=0, labels=(0, 2))]
    made = read(tmp_path, split, "id,labels\nx,a|b\n")
    assert made.probability_NC.tolist() == [[1, 1, 0]]
    assert made.labels_NC.tolist() == [[1, 0, 1]]
    assert read(tmp_path, split, "id,labels\nx,\n").probability_NC.tolist() == [[0, 0, 0]]
    made = read(tmp_path, split, "id,a,b,c\nx,0.9,0.9,0.9\n")
    assert made.probability_NC.tolist() == [[0.9, 0.9, 0.9]]


GOOD = "0.png,1,0,0\n1.png,1,0,0\n"


@pytest.mark.parametrize(
    ("text", "code", "named"),
    [
        ("", "data/bad-header", ""),
        ("name,a,b,c\n", "data/bad-header", ""),
        (f"id,a,b,c\n{GOOD}", "data/missing-answer", r"1 of 3.*2\.png"),
        (f"id,a,b,c\n{GOOD}2.png,1,0,0\n9.png,1,0,0\n", "data/unknown-id", r"'9\.png'"),
        (f"id,a,b,c\n{GOOD}1.png,1,0,0\n", "data/duplicate-id", r"'1\.png'"),
        (f"id,a,b,d\n{GOOD}", "data/bad-header", "'d'"),
        ("id,a,b\n0.png,1,0\n", "data/bad-header", "'c'"),
        (f"id,a,b,c,c\n{GOOD}", "data/bad-header", ""),
        (f"id,a,b,c\n{GOOD}2.png,1,0\n", "data/row-length", "line 4"),
        (f"id,a,b,c\n{GOOD}2.png,1,0,x\n", "data/bad-value", "line 4"),
        (f"id,a,b,c\n{GOOD}2.png,nan,0,1\n", "data/bad-value", "line 4"),
        (f"id,a,b,c\n{GOOD}2.png,2,-1,0\n", "data/bad-value", "line 4"),
        (f"id,a,b,c\n{GOOD}2.png,0.5,0,0\n", "data/bad-value", "0.5"),
        ("id,label\n0.png,cat\n", "data/unknown-class", "'cat'"),
        ("id,label\n0.png,a|b\n", "data/unknown-class", r"'a\|b'"),
    ],
)
def test_answers_that_cannot_be_meant_are_refused(tmp_path, split, text, code, named):
    with refused(code, match=named) as caught:
        read(tmp_path, split, text)
    assert "predictions.csv" in caught.value.whose


def test_a_missing_file_and_bytes_are_named(tmp_path, split):
    with refused("data/unreadable"):
        read_answers(tmp_path / "none.csv", split, CONTEXT)
    (tmp_path / "odd.csv").write_bytes(b"\xff\xfe\x00")
    with refused("data/unreadable"):
        read_answers(tmp_path / "odd.csv", split, CONTEXT)

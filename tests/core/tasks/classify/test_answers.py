"""Answers, and how they are drawn."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from moekit import Sample
from moekit.contract.answers import Answer, Item, TaskContext
from moekit.data.geometry import Frame
from moekit.tasks.classify import CLASSIFY
from moekit.tasks.classify.answers import class_answers, merge_views
from moekit.tasks.classify.point import ClassPoint, LabelPoint
from moekit.tasks.classify.show import COLUMNS, caption, draw_strip

CLASSES = ("apple", "pear", "plum")
CONTEXT = TaskContext(classes=CLASSES, vocabulary={}, frame=Frame(height=32, width=32))


def answer(logit, point=None, unlike=None, classes=CLASSES):
    outputs = {"logit_BC": torch.tensor([logit], dtype=torch.float64)}
    if unlike is not None:
        outputs["unlike_B"] = torch.tensor([unlike])
    context = TaskContext(classes=classes, vocabulary={}, frame=CONTEXT.frame)
    (one,) = class_answers(outputs, [Item(id="x", size=(4, 4))], point, context)
    return one


def test_the_most_probable_class_is_the_verdict():
    one = answer([0.0, 2.0, 1.0], ClassPoint(), 0.25)
    shares = torch.tensor([0.0, 2.0, 1.0], dtype=torch.float64).softmax(0).tolist()
    assert isinstance(one, Answer)
    assert one.verdict == "pear"
    assert one.monitor == pytest.approx(shares[1])
    row = one.as_row()
    assert (row["second"], row["second_probability"]) == ("plum", pytest.approx(shares[2]))
    assert [name for name, _ in json.loads(row["top"])] == ["pear", "plum", "apple"]
    assert row["unlike"] == 0.25


def test_a_row_has_all_columns_but_those_of_files():
    assert set(answer([0, 1, 2]).as_row()) == set(COLUMNS) - {"overlay", "error"}
    assert set(CLASSIFY.answering.unreadable(None)) == set(COLUMNS) - {"overlay", "error"}
    assert json.dumps(CLASSIFY.answering.unreadable(None))


def test_a_stranger_is_none_of_these_and_its_classes_are_told_all_the_same():
    point = ClassPoint(rule="refuse=0.1", n=9, refuse_above=0.5)
    assert answer([0, 1, 2], point, 0.6).verdict == "none of these"
    assert answer([0, 1, 2], point, 0.6).top[0][0] == "plum"
    assert answer([0, 1, 2], point, 0.5).verdict == "plum"
    assert answer([0, 1, 2], point, float("nan")).verdict == "none of these"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_logits_that_are_no_numbers_are_no_class(value):
    one = answer([0, value, 1])
    assert one.verdict == "none of these"
    assert one.monitor is None
    json.dumps(one.as_row(), allow_nan=False)


def test_several_labels_are_those_over_their_thresholds_in_the_order_of_the_classes():
    point = LabelPoint(thresholds=(0.5, 0.2, 0.9), rule="f1", n=9, values=(1.0, 1.0, 1.0))
    one = answer([0.1, 1.0, 2.0], point)
    assert one.verdict == answer([1.0, 0.1, 2.0], point).verdict == "apple|pear"
    assert [name for name, _ in one.top] == ["plum", "pear", "apple"]
    assert answer([-9.0, -9.0, -9.0], point).verdict == "none of these"
    assert answer([0.1, 1.0, 2.0], point).monitor == pytest.approx(1 / (1 + np.exp(-2.0)))


def test_a_row_names_five_classes_at_most():
    one = answer([float(place) for place in range(9)], classes=tuple("abcdefghi"))
    assert [name for name, _ in one.top] == list("ihgfe")


def test_views_are_averaged_before_the_softmax():
    views = [
        {"logit_BC": torch.tensor([[1.0, 2.0]]), "unlike_B": torch.tensor([1.0])},
        {"logit_BC": torch.tensor([[3.0, 0.0]]), "unlike_B": torch.tensor([0.0])},
    ]
    merged = merge_views(views)
    assert merged["logit_BC"].dtype == torch.float64
    assert merged["logit_BC"].tolist() == [[2.0, 1.0]]
    assert merged["unlike_B"].tolist() == [0.5]
    assert set(merge_views([{"logit_BC": torch.zeros(1, 2)}])) == {"logit_BC"}


def test_the_picture_stays_and_a_strip_lies_below_it(picture, tmp_path):
    one = answer([0.0, 2.0, 1.0])
    drawn = draw_strip(picture, one, None, CONTEXT)
    assert drawn.width == 200
    assert drawn.height > picture.height
    left = (200 - picture.width) // 2
    kept = drawn.crop((left, 0, left + picture.width, picture.height))
    assert np.array_equal(np.asarray(kept), np.asarray(picture))


def test_the_bar_of_the_right_class_is_green_if_the_truth_is_known(picture, tmp_path):
    one = answer([0.0, 4.0, 1.0])
    item = Item(id="x", size=(4, 4), sample=Sample(id="x", path=tmp_path, label=1))
    with_truth, without = (
        np.asarray(draw_strip(picture, one, given, CONTEXT)).reshape(-1, 3)
        for given in (item, None)
    )
    green = (180, 226, 190)
    assert (with_truth == green).all(1).sum() > 500
    assert not (without == green).all(1).any()


def test_long_and_odd_names_fit(picture):
    one = answer([0.0, 2.0, 1.0], classes=("\n", "x" * 500, "Äpfel, 苹果"))
    assert draw_strip(picture, one, None, CONTEXT).width == 200


def test_an_answer_without_a_class_is_not_drawn(picture):
    assert draw_strip(picture, answer([0, float("nan"), 1]), None, CONTEXT) is None


def test_a_wide_picture_keeps_its_width():
    wide = Image.new("RGB", (480, 40))
    assert draw_strip(wide, answer([0, 1, 2]), None, CONTEXT).width == 480


def test_a_caption_tells_the_verdict_and_the_truth_if_it_is_known(tmp_path):
    one = answer([0.0, 9.0, 0.0])
    item = Item(id="x", size=(4, 4), sample=Sample(id="x", path=tmp_path, label=2))
    assert caption(one, item, CONTEXT) == "pear (100%), truth: plum"
    assert caption(one, Item(id="x", size=(4, 4)), CONTEXT) == "pear (100%)"
    strange = Item(id="x", size=(4, 4), sample=Sample(id="x", path=tmp_path, label=-1))
    assert caption(one, strange, CONTEXT).endswith("truth: none of these")

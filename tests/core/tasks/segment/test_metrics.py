"""Metrics next to torchmetrics and MONAI, and at their edges."""

import math

import numpy as np
import pytest
import torch

from moekit.tasks.segment.metrics import (
    METRICS,
    boundary_iou,
    class_dice,
    class_iou,
    dice,
    foreground_iou,
    image_iou,
    min_image_iou,
    miou,
    pixel_accuracy,
)
from moekit.tasks.segment.tally import Counts


@pytest.fixture
def drawn():
    """Truth and answer (6, 20, 30) of five classes, of which the last never occurs."""
    numbers = np.random.default_rng(0)
    truth = numbers.integers(0, 4, (6, 20, 30))
    answer = np.where(numbers.random(truth.shape) < 0.6, truth, numbers.integers(0, 4, truth.shape))
    return truth, answer


def confusions(truth, answer, classes=5):
    pairs = zip(answer, truth, strict=True)
    return np.stack([Counts.of(one, other, classes).confusion_CC for one, other in pairs])


@pytest.mark.parametrize("spec", METRICS, ids=lambda spec: spec.name)
def test_the_known_answer_is_given(spec):
    assert spec.task == "segment"
    for example in spec.examples:
        given = [
            np.asarray(example.given[name]) if name.endswith(("CC", "C3")) else example.given[name]
            for name in spec.needs
        ]
        assert spec.compute(*given) == pytest.approx(example.value, abs=1e-9)


def test_miou_is_that_of_torchmetrics(drawn):
    metrics = pytest.importorskip("torchmetrics")
    truth, answer = (torch.from_numpy(one) for one in drawn)
    found = confusions(*drawn)
    each = metrics.JaccardIndex(task="multiclass", num_classes=4, average="none")(answer, truth)
    assert np.allclose(class_iou(found.sum(0))[:4], each.numpy(), atol=1e-6)
    assert math.isnan(class_iou(found.sum(0))[4])
    macro = metrics.JaccardIndex(task="multiclass", num_classes=4)(answer, truth)
    assert miou(found) == pytest.approx(float(macro), abs=1e-6)


def test_accuracy_is_that_of_torchmetrics(drawn):
    metrics = pytest.importorskip("torchmetrics")
    truth, answer = (torch.from_numpy(one) for one in drawn)
    wanted = metrics.Accuracy(task="multiclass", num_classes=5, average="micro")(answer, truth)
    assert pixel_accuracy(confusions(*drawn)) == pytest.approx(float(wanted), abs=1e-6)


def test_dice_of_pictures_is_that_of_monai(drawn):
    pytest.importorskip("monai")
    from monai.metrics import DiceMetric

    truth, answer = (
        torch.nn.functional.one_hot(torch.from_numpy(one), 5).movedim(3, 1) for one in drawn
    )
    wanted = DiceMetric(reduction="none", ignore_empty=True)(answer, truth)
    found = class_dice(confusions(*drawn))
    assert np.allclose(found[:, :4], wanted[:, :4].numpy(), atol=1e-6)


def test_dice_and_iou_of_one_class_go_with_each_other(drawn):
    found = confusions(*drawn).sum(0)
    iou = class_iou(found)
    assert np.allclose(class_dice(found)[:4], (2 * iou / (1 + iou))[:4])
    assert dice(confusions(*drawn)) > miou(confusions(*drawn))


def test_a_class_of_the_answer_only_counts_as_zero():
    counts = np.array([[[4, 1], [0, 0]]])
    assert miou(counts) == pytest.approx((4 / 5 + 0) / 2)
    assert miou(np.array([[[4, 0], [0, 0]]])) == 1


def test_the_classes_of_a_resample_are_its_own():
    counts = np.array([[[4, 0], [0, 0]], [[0, 0], [1, 1]]])
    assert miou(counts[[0, 0]]) == 1
    assert miou(counts) == pytest.approx((4 / 5 + 1 / 2) / 2)


def test_pictures_without_foreground_have_no_iou():
    counts = np.array([[[9, 0, 0], [0, 0, 0], [0, 0, 0]], [[5, 1, 0], [0, 2, 0], [1, 0, 0]]])
    found = image_iou(counts, (0,))
    assert math.isnan(found[0])
    assert found[1] == pytest.approx((2 / 3 + 0) / 2)
    assert min_image_iou(counts, (0,)) == found[1]
    assert math.isnan(min_image_iou(counts[:1], (0,)))
    assert image_iou(counts, ())[0] == 1


def test_foreground_is_taken_as_one():
    counts = np.array([[[5, 1, 1], [2, 3, 4], [0, 6, 7]]])
    assert foreground_iou(counts, (0,)) == pytest.approx(20 / (20 + 2 + 2))
    assert foreground_iou(counts, (0, 2)) == pytest.approx(3 / (3 + 6 + 7))
    assert math.isnan(foreground_iou(counts, ()))


@pytest.mark.parametrize("spec", METRICS, ids=lambda spec: spec.name)
def test_nothing_is_nan_and_no_error(spec):
    empty = {"confusion_NCC": np.zeros((0, 3, 3), int), "boundary_NC3": np.zeros((0, 3, 3), int)}
    given = [empty.get(name, (0,)) for name in spec.needs]
    assert math.isnan(spec.compute(*given))


def test_boundaries_of_classes_are_added_up_before_the_ratio():
    counts = np.array([[[2, 4, 3]], [[0, 0, 5]]])
    assert boundary_iou(counts) == pytest.approx(2 / (4 + 8 - 2))

"""The loss and the figures of an epoch, next to torch's own and torchmetrics."""

import math

import pytest
import torch
from torch import nn

from moekit.contract.recipe import Recipe
from moekit.data.mask_table import IGNORED
from moekit.tasks.segment.head import LOGIT
from moekit.tasks.segment.learn import TARGET, SegmentLoss, class_weights, figures

RECIPE = Recipe()


@pytest.fixture
def given(generator):
    logit = torch.randn(3, 4, 6, 8, generator=generator)
    truth = torch.randint(0, 3, (3, 12, 16), generator=generator)
    truth[:, :3] = IGNORED
    return {LOGIT: logit}, {TARGET: truth}


def test_without_balance_it_is_cross_entropy_of_enlarged_logits(given):
    outputs, targets = given
    large = nn.functional.interpolate(outputs[LOGIT], size=(12, 16), mode="bilinear")
    wanted = nn.functional.cross_entropy(large, targets[TARGET], ignore_index=IGNORED)
    assert torch.allclose(SegmentLoss(balance=0.0)(outputs, targets, RECIPE), wanted, atol=1e-6)


def test_with_full_balance_each_class_counts_the_same(given):
    outputs, targets = given
    targets[TARGET][targets[TARGET] == 2] = 1
    large = nn.functional.interpolate(outputs[LOGIT], size=(12, 16), mode="bilinear")
    each = nn.functional.cross_entropy(
        large, targets[TARGET], ignore_index=IGNORED, reduction="none"
    )
    wanted = torch.stack([each[targets[TARGET] == number].mean() for number in (0, 1)]).mean()
    assert torch.allclose(SegmentLoss(balance=1.0)(outputs, targets, RECIPE), wanted, atol=1e-5)


def test_pixels_that_do_not_count_change_nothing(given):
    outputs, targets = given
    loss = SegmentLoss(dice=1.0)
    outputs[LOGIT].requires_grad_()
    before = loss(outputs, targets, RECIPE)
    before.backward()
    gradient = outputs[LOGIT].grad
    assert gradient[:, :, 0].abs().max() == 0
    assert gradient[:, :, 3].abs().max() > 0


def test_no_weight_is_beyond_ten_times_the_mean():
    weight = class_weights(torch.tensor([1e6, 1.0, 0.0]), 1.0)
    assert weight.max() == 10
    assert weight[0] < 1
    count = torch.tensor([50.0, 30.0, 20.0])
    even = class_weights(count, 0.5)
    assert (even * count).sum() / 100 == pytest.approx(1)


def test_dice_is_zero_for_a_sure_answer_and_counts_classes_alike():
    truth = torch.zeros(1, 4, 4, dtype=torch.long)
    truth[0, 0, 0] = 1
    sure = 50 * nn.functional.one_hot(truth, 2).movedim(3, 1).float()
    plain, both = SegmentLoss(balance=0.0), SegmentLoss(balance=0.0, dice=1.0)
    right = both({LOGIT: sure}, {TARGET: truth}, RECIPE)
    assert right == pytest.approx(0, abs=1e-5)
    wrong = torch.zeros(1, 2, 4, 4)
    wrong[:, 0] = 50
    added = both({LOGIT: wrong}, {TARGET: truth}, RECIPE) - plain(
        {LOGIT: wrong}, {TARGET: truth}, RECIPE
    )
    assert added == pytest.approx((1 + 1 / 31) / 2, abs=1e-4)


@pytest.mark.parametrize("dice", [0.0, 1.0])
def test_nothing_to_learn_from_is_no_loss_and_no_nan(dice):
    logit = torch.randn(2, 3, 4, 4, requires_grad=True)
    truth = torch.full((2, 8, 8), IGNORED)
    loss = SegmentLoss(dice=dice)({LOGIT: logit}, {TARGET: truth}, RECIPE)
    loss.backward()
    assert loss == 0
    assert logit.grad.abs().max() == 0


def test_figures_agree_with_torchmetrics():
    metrics = pytest.importorskip("torchmetrics")
    generator = torch.Generator().manual_seed(1)
    truth = torch.randint(0, 4, (5, 16, 12), generator=generator)
    logit = 2 * nn.functional.one_hot(truth, 4).movedim(3, 1) + torch.randn(
        5, 4, 16, 12, generator=generator
    )
    truth[:, 5:9, 2:] = IGNORED
    found = figures({LOGIT: logit}, {TARGET: truth})
    jaccard = metrics.JaccardIndex(task="multiclass", num_classes=4, ignore_index=IGNORED)
    assert found["miou"] == pytest.approx(float(jaccard(logit.argmax(1), truth)), abs=1e-6)
    accuracy = metrics.Accuracy(
        task="multiclass", num_classes=4, ignore_index=IGNORED, average="micro"
    )
    assert found["pixel_accuracy"] == pytest.approx(
        float(accuracy(logit.argmax(1), truth)), abs=1e-6
    )


def test_figures_read_targets_at_the_centres_of_logits():
    truth = torch.zeros(1, 8, 8, dtype=torch.long)
    truth[:, 4:] = 1
    logit = torch.zeros(1, 2, 4, 4)
    logit[:, 1, 2:] = 1
    assert figures({LOGIT: logit}, {TARGET: truth}) == {"miou": 1.0, "pixel_accuracy": 1.0}
    none = figures({LOGIT: logit}, {TARGET: torch.full((1, 8, 8), IGNORED)})
    assert math.isnan(none["miou"])

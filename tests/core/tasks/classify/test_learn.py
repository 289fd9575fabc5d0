"""How classes are learned: targets, losses, and data that cannot be learned from."""

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from torch.nn import functional

from moekit import Dataset, Recipe, Sample
from moekit.data.geometry import Frame
from moekit.tasks.classify.learn import LEARN, MOST_LABELS, check_classes, class_loss
from moekit.testing import refused

FRAME = Frame(height=32, width=32)


def samples(tmp_path, labels, several=False):
    return [
        Sample(
            id=str(place),
            path=tmp_path,
            label=(label[0] if label else 0) if several else label,
            labels=tuple(label) if several else None,
            split="train",
        )
        for place, label in enumerate(labels)
    ]


def targets(given, learn=LEARN):
    return learn.targets(given, np.zeros(len(given), dtype=np.int64), FRAME)


def test_views_change_no_label(tmp_path):
    given = samples(tmp_path, [2, 0])
    turned = LEARN.targets(given, np.array([3, 7]), FRAME)
    assert turned["label_B"].tolist() == [2, 0]
    assert turned["label_B"].dtype == torch.int64


def test_targets_of_several_labels_have_one_shape_whatever_the_batch(tmp_path):
    one = targets(samples(tmp_path, [(0,), (2, 5)], several=True))["label_BK"]
    two = targets(samples(tmp_path, [()], several=True))["label_BK"]
    assert torch.cat([one, two]).shape == (3, MOST_LABELS)
    assert one[1, :3].tolist() == [2, 5, -1]
    assert two.unique().tolist() == [-1]


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_of_one_label_is_cross_entropy(tmp_path, generator, smoothing):
    logit_BC = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    given = targets(samples(tmp_path, [0, 1, 2, 0, 1]))
    recipe = Recipe(label_smoothing=smoothing)
    expected = functional.cross_entropy(
        logit_BC.float(), given["label_B"], label_smoothing=smoothing
    )
    loss = class_loss({"logit_BC": logit_BC}, given, recipe)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected)


def test_samples_of_no_class_count_for_nothing(tmp_path, generator):
    logit_BC = torch.randn(3, 3, generator=generator).requires_grad_()
    given = targets(samples(tmp_path, [0, -1, 2]))
    loss = class_loss({"logit_BC": logit_BC}, given, Recipe())
    torch.testing.assert_close(
        loss, functional.cross_entropy(logit_BC[[0, 2]], torch.tensor([0, 2]))
    )
    loss.backward()
    assert not logit_BC.grad[1].any()
    only = class_loss({"logit_BC": logit_BC[1:2]}, targets(samples(tmp_path, [-1])), Recipe())
    assert only.item() == 0


def test_class_balance_is_the_weighted_cross_entropy_of_torch(tmp_path, generator):
    labels = [0] * 6 + [1] * 3 + [2]
    given = samples(tmp_path, labels)
    learn = LEARN.prepared(given)
    logit_BC = torch.randn(10, 3, generator=generator)
    weight_C = torch.tensor([0.6, 0.3, 0.1]) ** -0.5
    expected = functional.cross_entropy(logit_BC, torch.tensor(labels), weight=weight_C)
    recipe = Recipe(class_balance=0.5)
    torch.testing.assert_close(
        class_loss({"logit_BC": logit_BC}, targets(given, learn), recipe), expected
    )
    # The shares are those of the split, whatever the batch.
    part = class_loss({"logit_BC": logit_BC[5:7]}, targets(given[5:7], learn), recipe)
    expected = functional.cross_entropy(logit_BC[5:7], torch.tensor(labels[5:7]), weight=weight_C)
    torch.testing.assert_close(part, expected)


def test_class_balance_without_shares_is_an_error_and_no_silence(tmp_path):
    with refused("usage/no-class-shares"):
        class_loss(
            {"logit_BC": torch.zeros(1, 2)},
            targets(samples(tmp_path, [0])),
            Recipe(class_balance=1.0),
        )


def test_the_loss_of_several_labels_is_binary_cross_entropy(tmp_path, generator):
    logit_BC = torch.randn(3, 4, generator=generator)
    given = targets(samples(tmp_path, [(0, 3), (), (1,)], several=True))
    truth = torch.tensor([[1.0, 0, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0]])
    torch.testing.assert_close(
        class_loss({"logit_BC": logit_BC}, given, Recipe()),
        functional.binary_cross_entropy_with_logits(logit_BC, truth),
    )


def test_the_balance_of_several_labels_weighs_the_labels_that_are_there(tmp_path, generator):
    logit_BC = torch.randn(4, 2, generator=generator)
    given = samples(tmp_path, [(0,), (0, 1), (0,), ()], several=True)
    truth = torch.tensor([[1.0, 0], [1, 1], [1, 0], [0, 0]])
    weight = torch.where(truth > 0, torch.tensor([4 / 3, 4.0]), torch.tensor(1.0))
    loss = functional.binary_cross_entropy_with_logits(
        logit_BC, truth, weight=weight, reduction="sum"
    )
    learn = LEARN.prepared(given)
    torch.testing.assert_close(
        class_loss({"logit_BC": logit_BC}, targets(given, learn), Recipe(class_balance=1.0)),
        loss / weight.sum(),
    )


def test_figures_are_top1_or_mean_average_precision(tmp_path, generator):
    logit_BC = torch.randn(20, 3, generator=generator)
    labels = [place % 3 for place in range(20)]
    one = LEARN.figures({"logit_BC": logit_BC}, targets(samples(tmp_path, labels)))
    right = logit_BC.argmax(1) == torch.tensor(labels)
    assert one == {"top1": pytest.approx(float(right.float().mean()))}
    several = targets(samples(tmp_path, [(label,) for label in labels], several=True))
    truth = functional.one_hot(torch.tensor(labels), 3).numpy()
    expected = average_precision_score(truth, logit_BC.sigmoid().numpy(), average="macro")
    found = LEARN.figures({"logit_BC": logit_BC}, several)
    assert found == {"map": pytest.approx(expected, abs=1e-6)}


@pytest.fixture
def sound(tmp_path):
    given = samples(tmp_path, [0, 1, 2, 0])
    given.append(dataclasses.replace(given[0], id="v", split="val"))
    return Dataset(name="made", samples=tuple(given), classes=("a", "b", "c"))


def test_sound_data_and_a_class_that_val_lacks_are_accepted(sound):
    check_classes(sound)


def test_a_sample_of_no_class_may_lie_in_val(sound):
    strange = dataclasses.replace(sound.samples[0], id="x", label=-1, split="val")
    check_classes(sound.with_samples([*sound.samples, strange]))
    with refused("data/unseen-in-train"):
        check_classes(
            sound.with_samples([*sound.samples, dataclasses.replace(strange, split="train")])
        )


def test_a_class_without_training_samples_is_named(sound):
    with refused("data/missing-class", match="'c'") as caught:
        check_classes(sound.with_samples(s for s in sound.samples if s.label != 2))
    assert "add training images" in caught.value.fix


@pytest.mark.parametrize(("classes", "named"), [(("a",), ""), (("a", "b", "b"), "'b'")])
def test_classes_that_are_none_are_refused(sound, classes, named):
    with refused("data/class-count", match=named):
        check_classes(dataclasses.replace(sound, classes=classes))


@pytest.mark.parametrize(
    ("change", "code", "named"),
    [
        ({"label": 3}, "data/unknown-class", "3"),
        ({"label": -2}, "data/unknown-class", "-2"),
        ({"labels": (0,)}, "data/mixed-labels", ""),
    ],
)
def test_labels_that_cannot_be_are_refused(sound, change, code, named):
    wrong = dataclasses.replace(sound.samples[0], id="x", **change)
    with refused(code, match=named):
        check_classes(sound.with_samples([*sound.samples, wrong]))


@pytest.mark.parametrize("labels", [(0, 0), tuple(range(MOST_LABELS + 1))])
def test_a_label_twice_or_too_many_are_refused(tmp_path, labels):
    given = samples(tmp_path, [(place,) for place in range(70)] + [labels], several=True)
    dataset = Dataset(
        name="made", samples=tuple(given), classes=tuple(str(place) for place in range(70))
    )
    with refused("data/bad-labels"):
        check_classes(dataset)

"""Heads that ask for the picture and, in training, for the targets; a baseline of its own."""

import dataclasses
import functools

import pytest
import torch
from torch import nn

from moekit.data.stream import Preprocess
from moekit.plugins.registry import Registry
from moekit.testing.inputs import write_images
from moekit.testing.reference import (
    REFERENCE_KIT,
    SIDE,
    add_reference,
    run_kit,
    small_backbone,
)


class AskingHead(nn.Module):
    """Scores by the mean of the picture, and notes what it was given."""

    reads_picture = True
    reads_targets = True

    def __init__(self, site, *, seen):
        super().__init__()
        self.linear = nn.Linear(3, 1)
        self._seen = seen

    def forward(self, tokens, grid, picture, targets=None):
        logit_B = self.linear(picture.mean((2, 3)))[:, 0]
        self._seen.append((self.training, picture, targets))
        extra = {"extra_B": logit_B} if self.training else {}
        return {"logit_B": logit_B, **extra}


class PlainHead(nn.Module):
    def __init__(self, site, *, seen):
        super().__init__()
        self.linear = nn.Linear(site.width, 1)
        self._seen = seen

    def forward(self, tokens, grid):
        self._seen.append(self.training)
        return {"logit_B": self.linear(tokens[-1][:, 0].float())[:, 0]}


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """The data of a run of a kit whose head asks, and what both heads were given."""
    folder = tmp_path_factory.mktemp("asking")
    images = folder / "images"
    images.mkdir()
    dataset = write_images(images, None, side=SIDE)
    asking, plain = [], []
    kit = dataclasses.replace(
        REFERENCE_KIT,
        build_head=functools.partial(AskingHead, seen=asking),
        baseline_head=functools.partial(PlainHead, seen=plain),
    )
    run_kit(kit, dataset, folder / "run", add_reference(Registry(strict=False)))
    return dataset, asking, plain


def test_the_targets_are_given_in_training_only(told):
    _, asking, _ = told
    assert {training for training, _, _ in asking} == {True, False}
    for training, picture, targets in asking:
        assert (targets is not None) == training
        if training:
            assert len(next(iter(targets.values()))) == len(picture)


def test_the_picture_is_the_normalised_input_of_each_row(told):
    dataset, asking, _ = told
    backbone = small_backbone()
    preprocess = Preprocess.square(SIDE, mean=backbone.mean, std=backbone.std)
    known = [preprocess(sample.path) for sample in dataset.samples]
    for _, picture, _ in asking:
        for one in picture:
            assert any(torch.equal(one, other) for other in known)


def test_the_baseline_has_the_head_that_the_kit_names_for_it(told):
    *_, plain = told
    assert set(plain) == {True, False}

"""Heads of classes: shapes, learning, prototypes, and what they are called with."""

import contextlib
import functools
import pathlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from moekit import Grid, Recipe, Sample
from moekit.contract.jobs import FitJob
from moekit.contract.outputs import HeadSite
from moekit.tasks.classify import CLASSIFY, ClassHead, PrototypeHead, fit_prototypes
from moekit.tasks.classify.prototypes import TEMPERATURES
from moekit.testing import refused

GRID = Grid(4, 5)
SITE = HeadSite(width=8, blocks=2, classes=3)


def tokens(images=6, blocks=2, *, seed=0, frames=1):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(images * frames, 21, 8, generator=generator) for _ in range(blocks)]


@pytest.mark.parametrize("hidden", [0, 16])
def test_a_head_gives_logits_and_in_eval_mode_the_open_set_score(hidden):
    torch.manual_seed(0)
    head = ClassHead(SITE, hidden=hidden)
    assert set(head(tokens(), GRID)) == {"logit_BC"}
    outputs = head.eval()(tokens(), GRID)
    assert outputs["logit_BC"].shape == (6, 3)
    assert torch.equal(outputs["unlike_B"], -outputs["logit_BC"].amax(1))


def test_a_stack_gives_one_answer():
    head = ClassHead(SITE).eval()
    assert head(tokens(2, frames=3), Grid(4, 5, 3))["logit_BC"].shape == (2, 3)


@pytest.mark.parametrize("build", [ClassHead, PrototypeHead], ids=lambda build: build.__name__)
def test_items_of_a_batch_do_not_touch_each_other(build):
    torch.manual_seed(0)
    head = build(SITE).eval()
    if build is PrototypeHead:
        head.fill(torch.randn(9, len(head.centre_F)), torch.eye(3).repeat(3, 1))
    given = tokens()
    together = head(given, GRID)["logit_BC"]
    alone = torch.cat(
        [
            head([x_BND[place : place + 1] for x_BND in given], GRID)["logit_BC"]
            for place in range(6)
        ]
    )
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("hidden", [0, 16])
def test_a_head_learns_and_every_parameter_is_reached(hidden):
    torch.manual_seed(0)
    head = ClassHead(SITE, hidden=hidden, dropout=0.0)
    given, labels = tokens(24), torch.arange(24) % 3
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(60):
        loss = nn.functional.cross_entropy(head(given, GRID)["logit_BC"], labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert all(p.grad is not None and p.grad.any() for p in head.parameters())
    assert loss.item() < 0.1


def test_mixed_precision_does_not_reach_the_logits():
    head = ClassHead(SITE).eval()
    exact = head(tokens(), GRID)["logit_BC"]
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(head(tokens(), GRID)["logit_BC"], exact)


def test_a_kit_may_choose_summaries():
    build = functools.partial(ClassHead, summaries=("class", "deviation", "centre"), hidden=4)
    assert build(SITE).hidden.in_features == 3 * 8 * 2


class Store:
    """A stored prefix of tokens that lie around the mean of their class."""

    views, grid = 2, GRID

    def __init__(self, labels, *, seed=0, several=False):
        means = torch.randn(4, 21, 8, generator=torch.Generator().manual_seed(7)) * 2
        generator = torch.Generator().manual_seed(seed)
        self.samples = tuple(
            Sample(
                id=str(place),
                path=pathlib.Path(),
                label=label,
                labels=(label,) if several else None,
            )
            for place, label in enumerate(labels)
        )
        noise = torch.randn(len(labels), 21, 8, generator=generator)
        self.tokens = means[torch.tensor(labels, dtype=torch.int64)] + noise

    def __len__(self):
        return len(self.samples)

    def read(self, rows, views):
        tokens = self.tokens[torch.from_numpy(rows)].bfloat16()
        return tokens, {5: tokens}


class Kit(nn.Module):
    """Called as the platform's kits are."""

    def __init__(self, head):
        super().__init__()
        self.head = head

    def forward(self, backbone, x_BND, kept, grid, *, top_k=None):
        return self.head([kept[5], x_BND], grid)


def job(head, train, val, told):
    fabric = SimpleNamespace(
        device=torch.device("cpu"), to_device=lambda given: given, autocast=contextlib.nullcontext
    )
    return FitJob(
        part="kit",
        kit=Kit(head),
        backbone=None,
        fabric=fabric,
        train=train,
        val=val,
        task=CLASSIFY,
        recipe=Recipe(),
        epochs=1,
        seed=0,
        checkpoint=pathlib.Path("none"),
        on_epoch=told.append,
    )


def test_prototypes_are_found_from_two_examples_a_class():
    head, told = PrototypeHead(SITE), []
    result = fit_prototypes(job(head, Store([0, 1, 2] * 2), Store([0, 1, 2] * 10, seed=1), told))
    assert result.history == tuple(told)
    assert told[0]["val_top1"] == 1.0
    assert float(head.temperature) in TEMPERATURES
    test = Store([0, 1, 2] * 5, seed=2)
    outputs = head([test.tokens, test.tokens], GRID)
    assert outputs["logit_BC"].argmax(1).tolist() == [0, 1, 2] * 5
    assert not head._forward_hooks


def test_something_of_no_class_is_stranger_than_what_was_seen():
    head = PrototypeHead(SITE)
    fit_prototypes(job(head, Store([0, 1, 2] * 4), Store([0, 1, 2], seed=1), []))
    seen, strange = Store([0, 1, 2] * 5, seed=2), Store([3] * 15, seed=3)
    known, other = (head([s.tokens, s.tokens], GRID)["unlike_B"].detach() for s in (seen, strange))
    assert known.max() < other.min()


def test_logits_are_cosines_times_the_temperature():
    torch.manual_seed(0)
    head = PrototypeHead(SITE)
    pooled = torch.randn(9, len(head.centre_F))
    head.fill(pooled, torch.eye(3).repeat(3, 1))
    unit = nn.functional.normalize(pooled - pooled.mean(0), dim=1)
    means = nn.functional.normalize(unit.reshape(3, 3, -1).mean(0), dim=1)
    torch.testing.assert_close(head.cosine(pooled), unit @ means.T)
    assert head.cosine(pooled).abs().max() <= 1 + 1e-6


def test_the_prototypes_lie_in_the_state_and_before_them_all_logits_are_zero():
    head, fresh = PrototypeHead(SITE), PrototypeHead(SITE)
    assert not fresh(tokens(), GRID)["logit_BC"].any()
    head.fill(torch.randn(3, len(head.centre_F)), torch.eye(3))
    fresh.load_state_dict(head.state_dict())
    assert torch.equal(fresh(tokens(), GRID)["logit_BC"], head(tokens(), GRID)["logit_BC"])


def test_a_class_without_an_image_has_no_mean():
    head = PrototypeHead(SITE)
    with refused("data/missing-class", match="2"):
        fit_prototypes(job(head, Store([0, 1] * 2), Store([0]), []))
    assert not head._forward_hooks


def test_several_labels_and_an_empty_validation_split_will_do():
    head, told = PrototypeHead(SITE), []
    fit_prototypes(job(head, Store([0, 1, 2] * 2, several=True), Store([]), told))
    assert "val_top1" not in told[0]
    assert head.prototype_CF.norm(dim=1).tolist() == pytest.approx([1, 1, 1], abs=1e-5)


def test_the_same_job_gives_the_same_prototypes():
    heads = [PrototypeHead(SITE), PrototypeHead(SITE)]
    for head in heads:
        fit_prototypes(job(head, Store([0, 1, 2] * 3), Store([0, 1, 2]), []))
    assert torch.equal(heads[0].prototype_CF, heads[1].prototype_CF)
    assert np.isfinite(heads[0].prototype_CF.numpy()).all()

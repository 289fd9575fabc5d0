"""Learning from normal images: what is scored, distinguished, added and kept in bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from moekit import Grid
from moekit.testing import refused
from moekit_industrial.anomaly import MemoryHead, MemoryLearner, learning
from moekit_industrial.anomaly.head import patch_features

from .conftest import GRID, SITE, WIDTH


def learn(train: Any, val: Any, *, head: MemoryHead | None = None, **options: Any) -> MemoryHead:
    head = head or MemoryHead(SITE)
    MemoryLearner(head, train, val, seed=0, **options).run()
    return head.eval()


def with_defect(x_BPF: torch.Tensor, *, at: int = 27, by: float = 2.0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(9)
    worn = x_BPF.clone()
    worn[:, at] += by * torch.randn(WIDTH, generator=draw)
    return worn


@pytest.mark.parametrize("plain", [False, True])
def test_a_defect_scores_above_every_normal_image_and_the_map_shows_it(
    make: Callable[..., Any], tokens: Callable[..., Any], plain: bool
) -> None:
    head = learn(make("nut", 30, seed=0), make("nut", 12, seed=1), plain=plain)
    fresh = make("nut", 10, seed=2).x_BPF
    good, bad = head(tokens(fresh), GRID), head(tokens(with_defect(fresh)), GRID)
    assert bad["logit_B"].min() > good["logit_B"].max() + 1
    assert (bad["map_BHW"].flatten(1).argmax(1) == 27).all()
    assert good["logit_B"].abs().max() < 1.5  # around 0 for what is normal


def test_scores_of_gross_defects_differ_still(
    make: Callable[..., Any], tokens: Callable[..., Any]
) -> None:
    head = learn(make("nut", 30, seed=0), make("nut", 12, seed=1))
    fresh = make("nut", 4, seed=2).x_BPF
    logits = [head(tokens(with_defect(fresh, by=by)), GRID)["logit_B"] for by in (0.5, 1, 2)]
    assert (logits[0] < logits[1]).all()
    assert (logits[1] < logits[2]).all()
    assert head(tokens(with_defect(fresh, by=9)), GRID)["map_BHW"].max() < 1


def test_products_are_told_apart_and_a_strange_one_is_unknown(
    make: Callable[..., Any], tokens: Callable[..., Any]
) -> None:
    head = learn(
        make("nut", 20, seed=0) + make("bolt", 20, seed=1),
        make("nut", 8, seed=2) + make("bolt", 8, seed=3),
    )
    assert head.kinds == ("bolt", "nut")
    for name, kind in (("bolt", 0), ("nut", 1), ("washer", -1)):
        assert (head(tokens(make(name, 9, seed=4).x_BPF), GRID)["kind_B"] == kind).all()
    fresh = make("nut", 9, seed=5).x_BPF
    assert (head(tokens(with_defect(fresh)), GRID)["kind_B"] == 1).all()


def test_learning_two_products_scores_each_as_learning_it_alone(
    make: Callable[..., Any], tokens: Callable[..., Any]
) -> None:
    both = learn(
        make("nut", 20, seed=0) + make("bolt", 20, seed=1),
        make("nut", 8, seed=2) + make("bolt", 8, seed=3),
    )
    alone = learn(make("nut", 20, seed=0), make("nut", 8, seed=2))
    fresh = tokens(with_defect(make("nut", 20, seed=6).x_BPF, by=0.3))
    order = both(fresh, GRID)["logit_B"].argsort()
    assert torch.equal(order, alone(fresh, GRID)["logit_B"].argsort())
    x_BPF = patch_features(fresh, GRID)
    far = [
        head.distances(x_BPF, torch.full((20,), head.kinds.index("nut")), GRID)
        for head in (both, alone)
    ]
    torch.testing.assert_close(*far)


def test_new_images_are_added_in_proportion_and_within_the_bound(
    make: Callable[..., Any], tokens: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "MEMBERS", 2000)
    head = learn(make("nut", 60, seed=0), make("nut", 12, seed=1))
    assert len(head.memory.bank_MC) == 2000
    unseen = make("bolt", 30, seed=2)  # another look of the same product
    unseen.products = ("nut",) * 30
    before = head(tokens(unseen.x_BPF[:5]), GRID)["logit_B"]
    checks = make("bolt", 12, seed=3)
    checks.products = ("nut",) * 12
    learn(unseen, make("nut", 12, seed=1) + checks, head=head)
    assert len(head.memory.bank_MC) == 2000
    assert head.seen_Q.tolist() == [90]
    assert (head(tokens(unseen.x_BPF[:5]), GRID)["logit_B"] < before - 1).all()
    assert head(tokens(make("nut", 9, seed=4).x_BPF), GRID)["logit_B"].max() < 1.5


def test_an_update_may_bring_a_new_product_and_leaves_the_old_one_as_it_is(
    make: Callable[..., Any], tokens: Callable[..., Any]
) -> None:
    head = learn(make("nut", 20, seed=0), make("nut", 8, seed=1))
    fresh = tokens(make("nut", 9, seed=4).x_BPF)
    before = head(fresh, GRID)
    far = head.distances(patch_features(fresh, GRID), torch.zeros(9, dtype=torch.int64), GRID)
    learn(make("bolt", 20, seed=2), make("bolt", 8, seed=3), head=head)
    after = head(fresh, GRID)
    assert head.kinds == ("nut", "bolt")
    assert torch.equal(before["logit_B"].argsort(), after["logit_B"].argsort())
    nuts = torch.zeros(9, dtype=torch.int64)
    torch.testing.assert_close(head.distances(patch_features(fresh, GRID), nuts, GRID), far)
    assert (after["kind_B"] == 0).all()


def test_ten_images_are_enough_to_begin(
    make: Callable[..., Any], tokens: Callable[..., Any]
) -> None:
    head = learn(make("nut", 8, seed=0), make("nut", 2, seed=1))
    fresh = make("nut", 10, seed=2).x_BPF
    good, bad = head(tokens(fresh), GRID), head(tokens(with_defect(fresh)), GRID)
    assert bad["logit_B"].min() > good["logit_B"].max()


def test_the_same_seed_learns_the_same_and_a_state_comes_back(make: Callable[..., Any]) -> None:
    first = learn(make("nut", 20, seed=0), make("nut", 8, seed=1)).state_dict()
    second = learn(make("nut", 20, seed=0), make("nut", 8, seed=1)).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    again = MemoryHead(SITE)
    again.load_state_dict(first)
    assert again.kinds == ("nut",)
    assert all(torch.equal(first[name], value) for name, value in again.state_dict().items())


def test_a_product_without_validation_images_is_named(make: Callable[..., Any]) -> None:
    with refused("data/empty-split") as error:
        learn(make("nut", 8, seed=0) + make("bolt", 8, seed=0), make("nut", 2, seed=1))
    assert error.value.whose == "the product 'bolt'"


def test_a_head_that_has_not_learned_says_nothing(tokens: Callable[..., Any]) -> None:
    output = MemoryHead(SITE)(tokens(torch.randn(3, GRID.patches, WIDTH)), GRID)
    assert output["logit_B"].tolist() == [0, 0, 0]
    assert "map_BHW" not in output


def test_stacks_are_refused(tokens: Callable[..., Any]) -> None:
    with refused("plugin/no-stacks"):
        MemoryHead(SITE)(tokens(torch.randn(3, GRID.patches, WIDTH)), Grid(8, 8, 3))

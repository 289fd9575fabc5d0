"""The gate of the plain background: what it computes, and what the memory makes of the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from moekit import Grid, HeadSite, Recipe, Registry, TokenRouting
from moekit.jobs.adapt import chosen_recipe
from moekit.runtime.tokens import routes_tokens
from moekit.testing import refused
from moekit_industrial.anomaly import MemoryHead, MemoryLearner
from moekit_industrial.anomaly.background import THRESHOLD, BackgroundTokenGate
from moekit_industrial.anomaly.foreground import is_computed
from moekit_industrial.anomaly.head import patch_features

from .conftest import GRID, WIDTH

PATCH, SIDE = 14, 16
PLANE = Grid(SIDE, SIDE)


def picture(*, seed: int = 0, part: bool = True, grain: float = 0.02) -> torch.Tensor:
    """(3, H, W) a dark part, of 4 x 8 patches, on a bright background with a gradient of light."""
    draw = torch.Generator().manual_seed(seed)
    side = SIDE * PATCH
    light = 1.5 - 0.3 * torch.linspace(0, 1, side)
    image = light.expand(3, side, side) + grain * torch.randn(3, side, side, generator=draw)
    if part:
        image = image.clone()
        image[:, 6 * PATCH : 10 * PATCH, 4 * PATCH : 12 * PATCH] -= 2
    return image


def computed(image: torch.Tensor) -> torch.Tensor:
    """(SIDE, SIDE) which patches the gate wants."""
    score_BP = BackgroundTokenGate()(torch.empty(0), PLANE, picture=image[None])
    return score_BP.view(SIDE, SIDE) >= THRESHOLD


def of_part(*, margin: int = 0) -> torch.Tensor:
    wanted = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    wanted[6 - margin : 10 + margin, 4 - margin : 12 + margin] = True
    return wanted


def test_the_part_and_its_edge_are_computed_and_the_background_is_not() -> None:
    assert torch.equal(computed(picture()), of_part(margin=1))


@pytest.mark.parametrize(("tone", "size"), [(-0.9, 8), (-2.0, 4), (1.5, 20)])
def test_a_foreign_body_on_the_background_is_computed(tone: float, size: int) -> None:
    image = picture()
    image[:, 30 : 30 + size, 190 : 190 + size] += tone
    found = computed(image)
    assert found[30 // PATCH, 190 // PATCH]
    assert found[of_part(margin=1)].all()


def test_a_foreign_body_of_another_colour_is_computed() -> None:
    image = picture()
    image[0, 28:56, 182:210] += 0.9
    assert computed(image)[2:4, 13:15].all()


def test_a_body_across_the_border_is_computed() -> None:
    image = picture()
    image[:, :40, 100:120] -= 1.8
    assert computed(image)[:2, 8].all()


def test_a_texture_an_empty_picture_and_an_uneven_border_are_computed_whole() -> None:
    draw = torch.Generator().manual_seed(1)
    stripes = 0.8 * torch.randn(1, 1, SIDE * PATCH, generator=draw).expand(3, SIDE * PATCH, -1)
    cluttered = picture()
    cluttered[:, :PATCH] += 2 * torch.randn(3, PATCH, SIDE * PATCH, generator=draw)
    for image in (stripes, picture(part=False), torch.zeros(3, SIDE * PATCH, SIDE * PATCH)):
        assert computed(image).all()
    assert computed(cluttered).all()


def test_an_image_is_decided_by_itself() -> None:
    images = torch.stack([picture(), picture(part=False), picture(seed=2)])
    gate = BackgroundTokenGate()
    together = gate(torch.empty(0), PLANE, picture=images)
    for row, image in enumerate(images):
        alone = gate(torch.empty(0), PLANE, picture=image[None])[0]
        torch.testing.assert_close(together[row], alone, rtol=0, atol=0)


def test_patches_that_no_block_computed_have_no_features() -> None:
    draw = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 2, 1 + GRID.patches, WIDTH, generator=draw)
    second[0, 5:9] = first[0, 5:9]
    x_BPF = patch_features([first, second], GRID)
    wanted = torch.ones(2, GRID.patches, dtype=torch.bool)
    wanted[0, 4:8] = False
    assert torch.equal(is_computed(x_BPF), wanted)
    alone = patch_features([first], GRID)
    assert torch.equal(x_BPF[wanted][:, :WIDTH], alone[wanted])


def without(x_BPF: torch.Tensor, rows: slice) -> torch.Tensor:
    """The features if the pass does not compute these rows of the grid."""
    left = x_BPF.clone().view(len(x_BPF), GRID.rows, GRID.columns, -1)
    left[:, rows] = 0
    return left.flatten(1, 2)


def test_what_is_not_computed_is_neither_learned_nor_scored(make: Callable[..., Any]) -> None:
    train, val = make("nut", 30, seed=0), make("nut", 12, seed=1)
    for one in (train, val):
        one.x_BPF = without(one.x_BPF, slice(0, 3))
    head = MemoryHead(HeadSite(width=WIDTH, blocks=1))
    MemoryLearner(head, train, val, seed=0).run()
    assert not head.texture_Q.any()
    assert len(head.memory.bank_MC) == 30 * 5 * 8
    fresh = without(make("nut", 6, seed=2).x_BPF, slice(0, 3))
    product_B = torch.zeros(6, dtype=torch.int64)
    far_BP = head.distances(fresh, product_B, GRID)
    assert (far_BP.view(6, 8, 8)[:, :3] == 0).all()
    assert (far_BP.view(6, 8, 8)[:, 3:] > 0).all()


def test_a_foreign_body_that_is_computed_on_the_background_is_found(
    make: Callable[..., Any],
) -> None:
    train, val = make("nut", 30, seed=0), make("nut", 12, seed=1)
    for one in (train, val):
        one.x_BPF = without(one.x_BPF, slice(0, 3))
    head = MemoryHead(HeadSite(width=WIDTH, blocks=1))
    MemoryLearner(head, train, val, seed=0).run()
    fresh = without(make("nut", 6, seed=2).x_BPF, slice(0, 3))
    usual_B = head.distances(fresh, torch.zeros(6, dtype=torch.int64), GRID).amax(1)
    draw = torch.Generator().manual_seed(3)
    fresh[:, 9:11] = 3 * torch.randn(6, 2, WIDTH, generator=draw)
    far_BP = head.distances(fresh, torch.zeros(6, dtype=torch.int64), GRID)
    assert (far_BP.argmax(1) >= 9).all()
    assert (far_BP.argmax(1) < 11).all()
    assert (far_BP.amax(1) > 2 * usual_B).all()


def test_a_pass_with_the_gate_leaves_the_background_as_it_was() -> None:
    routing = TokenRouting(
        gate=BackgroundTokenGate(), block=0, share=1.0, threshold=THRESHOLD, window=None
    )
    x_BND = torch.randn(1, 1 + PLANE.patches, 8, generator=torch.Generator().manual_seed(0))
    choice = routing.choose(x_BND, PLANE, picture()[None])
    assert choice.kept_BN[0, 1:][of_part(margin=1).flatten()].all()
    assert choice.share < 0.4


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry()


@pytest.fixture(scope="module")
def recipe(registry: Registry) -> Recipe:
    alone = registry.kit("industrial").negatives_only
    assert alone is not None
    return alone.recipe


def test_the_gate_is_an_option_and_leaves_the_background_out_from_the_first_block_on(
    recipe: Recipe, registry: Registry
) -> None:
    assert not routes_tokens(chosen_recipe(recipe, {}, registry), registry)
    chosen = chosen_recipe(recipe, {"token_gate": "background"}, registry)
    assert chosen.token_gate == "moekit-industrial/background"
    assert (chosen.token_block, chosen.token_window) == (0, None)
    assert routes_tokens(chosen, registry)
    merged = {"token_gate": "background", "token_block": 1, "token_window": 2}
    assert chosen_recipe(recipe, merged, registry).token_window == 2


@pytest.mark.parametrize("share", [1.0, 0.2])
def test_who_names_a_share_has_the_common_gate_though_a_recipe_has_this_one(
    share: float, recipe: Recipe, registry: Registry
) -> None:
    own = chosen_recipe(recipe, {"token_gate": "background"}, registry)
    chosen = chosen_recipe(own, {"token_share": share}, registry)
    common = Recipe(token_share=share)
    for name in ("token_share", "token_gate", "token_block", "token_window"):
        assert getattr(chosen, name) == getattr(common, name)
    assert routes_tokens(chosen, registry) == (share < 1)
    assert chosen.image_size == recipe.image_size


def test_a_budget_does_not_decide_for_the_gate_of_the_background(
    recipe: Recipe, registry: Registry
) -> None:
    own = chosen_recipe(recipe, {"token_gate": "background"}, registry)
    assert chosen_recipe(own, {}, registry, budget=0.5).token_gate == Recipe().token_gate
    with refused("usage/option-conflict", match="decides by itself"):
        chosen_recipe(recipe, {"token_gate": "background"}, registry, budget=0.5)

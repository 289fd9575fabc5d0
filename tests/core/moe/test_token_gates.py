"""Token gates score each image by itself, and find what they say they find."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from moekit import Grid
from moekit.moe.learned_token_gate import LearnedTokenGate
from moekit.moe.token_gates import (
    ForegroundTokenGate,
    MotionTokenGate,
    NamedTokenGate,
    TextureTokenGate,
    TokenGate,
)

GRID = Grid(6, 8)
GATES = [TextureTokenGate(), ForegroundTokenGate(), MotionTokenGate(), LearnedTokenGate(16)]


def scores(gate: TokenGate, patch_BPD: Tensor, picture: Tensor, grid: Grid = GRID) -> Tensor:
    return gate(patch_BPD, grid, picture=picture)


@pytest.fixture
def patch_BPD(generator: torch.Generator) -> Tensor:
    return torch.randn(4, GRID.patches, 16, generator=generator)


@pytest.fixture
def picture(generator: torch.Generator) -> Tensor:
    return torch.randn(4, 3, 48, 64, generator=generator)


@pytest.mark.parametrize("gate", GATES, ids=lambda gate: type(gate).__name__)
def test_each_image_is_scored_by_itself(
    gate: TokenGate, patch_BPD: Tensor, picture: Tensor
) -> None:
    together = scores(gate, patch_BPD, picture)
    assert isinstance(gate, TokenGate)
    assert together.shape == (4, GRID.patches)
    for row in range(4):
        own = scores(gate, patch_BPD[row : row + 1], picture[row : row + 1])
        torch.testing.assert_close(own[0], together[row])


@pytest.mark.parametrize("gate", GATES, ids=lambda gate: type(gate).__name__)
def test_an_image_of_one_brightness_has_finite_scores(gate: TokenGate) -> None:
    found = scores(gate, torch.ones(2, GRID.patches, 16), torch.zeros(2, 3, 48, 64))
    assert found.isfinite().all()


def test_texture_finds_the_patch_with_an_edge(patch_BPD: Tensor) -> None:
    picture = torch.zeros(4, 3, 48, 64)
    picture[:, :, 20:22, 40:44] = 1  # in the patch of row 2, column 5
    found = scores(TextureTokenGate(), patch_BPD, picture)
    assert (found.argmax(1) == 2 * 8 + 5).all()


def test_texture_reads_no_token(patch_BPD: Tensor, picture: Tensor) -> None:
    found = scores(TextureTokenGate(), patch_BPD, picture)
    assert torch.equal(found, scores(TextureTokenGate(), 2 - patch_BPD, picture))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_first_component_puts_what_is_not_at_the_border_first(
    sign: float, picture: Tensor, generator: torch.Generator
) -> None:
    inside = torch.zeros(tuple(GRID), dtype=torch.bool)
    inside[2:4, 3:6] = True
    patch_BPD = 0.1 * torch.randn(4, GRID.patches, 16, generator=generator)
    patch_BPD[:, inside.flatten()] += sign * torch.randn(16, generator=generator)
    found = scores(ForegroundTokenGate(), patch_BPD, picture)
    for chosen in found.topk(6, dim=1).indices:
        assert set(chosen.tolist()) == set(inside.flatten().nonzero()[:, 0].tolist())


def test_difference_finds_what_moved_and_all_of_a_first_frame(patch_BPD: Tensor) -> None:
    picture = torch.zeros(4, 3, 48, 64)
    picture[1, :, 8:16, 16:24] = 1  # frame 1 of the first stack: row 1, column 2
    found = scores(MotionTokenGate(), patch_BPD, picture, Grid(6, 8, 2)).view(2, 2, -1)
    assert found[0, 1].argmax() == 8 + 2
    assert found[0, 0].min() > found[0, 1].max()
    assert (found[1, 1] == 0).all()
    assert (found[1, 0] == 1).all()


def test_what_an_image_is_beside_changes_no_bit_of_what_is_learned(
    patch_BPD: Tensor, picture: Tensor
) -> None:
    gate = LearnedTokenGate(16)
    together = scores(gate, patch_BPD, picture)
    assert torch.equal(together[2:3], scores(gate, patch_BPD[2:3], picture[2:3]))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(together, scores(gate, patch_BPD, picture))


def test_named_gates_are_equal_if_they_score_alike() -> None:
    facts = {"name": "mine/first", "version": "1", "sha256": "0"}
    gate = NamedTokenGate(gate=TextureTokenGate(), **facts)
    assert gate == NamedTokenGate(gate=TextureTokenGate(), **facts)
    for name in facts:
        assert gate != NamedTokenGate(gate=gate.gate, **{**facts, name: "other"})

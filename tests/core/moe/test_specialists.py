"""Specialists: a kit's experts next to the generic ones, and the learned "none"."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from moekit import (
    ExpertChoice,
    Gate,
    Grid,
    MoEBackbone,
    RoutingTrace,
    SpecialistExpert,
    TopKSigmoid,
    TopKSoftmax,
    UnitTopK,
)
from moekit.moe.specialists import SpecialistSet
from moekit.testing import refused

B, D = 3, 16
GRID = Grid(3, 4)
N = 1 + GRID.rows * GRID.columns

GATES = [UnitTopK(), TopKSoftmax(), TopKSigmoid(), ExpertChoice()]
all_gates = pytest.mark.parametrize("gate", GATES, ids=lambda gate: type(gate).__name__)


class TokenExpert(nn.Module):
    """A bottleneck of zero output at the start, which remembers what it was given."""

    reads_map = False

    def __init__(self, width: int = D) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(width, 4), nn.Linear(4, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)
        self.seen: list[Tensor] = []

    def forward(self, x_TD: Tensor) -> Tensor:
        self.seen.append(x_TD)
        output: Tensor = self.up(self.down(x_TD).sigmoid())
        return output


class MapExpert(nn.Module):
    """A learned scale of the mean patch, which remembers what it was given."""

    reads_map = True

    def __init__(self, width: int = D) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(width))
        self.seen: list[tuple[torch.Size, Grid]] = []

    def forward(self, x_BND: Tensor, grid: Grid) -> Tensor:
        self.seen.append((x_BND.shape, grid))
        prefix = x_BND.shape[1] - grid.rows * grid.columns
        return (x_BND[:, prefix:].mean(1, keepdim=True) * self.scale).expand_as(x_BND)


@pytest.fixture
def x_BND(generator: torch.Generator) -> Tensor:
    return torch.randn(B, N, D, generator=generator)


@pytest.fixture
def trained(randomise: Callable[..., None]) -> Callable[..., SpecialistSet]:
    """A set of specialists with random weights."""

    def make(*experts: nn.Module, gate: Gate | None = None, top_k: int = 1) -> SpecialistSet:
        made = SpecialistSet(
            width=D, experts=experts, gate=gate or TopKSoftmax(), top_k=top_k, kit="tests"
        )
        randomise(made)
        return made

    return make


def weights(made: SpecialistSet, x_BND: Tensor) -> Tensor:
    """(B, N, S + 1) what the set's gate decides."""
    scores_BNE = made.router(x_BND)
    return made.gate(scores_BNE, k=made.top_k).weight_TE().view_as(scores_BNE)


def test_the_fakes_keep_the_protocol() -> None:
    assert isinstance(TokenExpert(), SpecialistExpert)
    assert isinstance(MapExpert(), SpecialistExpert)


@all_gates
@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_a_fresh_set_puts_out_exactly_zero(gate: Gate, top_k: int, x_BND: Tensor) -> None:
    fresh = SpecialistSet(
        width=D, experts=[TokenExpert(), MapExpert()], gate=gate, top_k=top_k, kit="tests"
    )
    assert torch.equal(fresh(x_BND, GRID), torch.zeros_like(x_BND))


@all_gates
@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_the_output_is_the_weighted_sum_of_the_experts(
    gate: Gate, top_k: int, x_BND: Tensor, trained: Callable[..., SpecialistSet]
) -> None:
    token, whole = TokenExpert(), MapExpert()
    made = trained(token, whole, gate=gate, top_k=top_k)
    weight_BNE = weights(made, x_BND)
    expected = token(x_BND) * weight_BNE[..., :1] + whole(x_BND, GRID) * weight_BNE[..., 1:2]
    torch.testing.assert_close(made(x_BND, GRID), expected)


def test_a_token_expert_sees_just_the_tokens_routed_to_it(
    x_BND: Tensor, trained: Callable[..., SpecialistSet]
) -> None:
    first, second = TokenExpert(), TokenExpert()
    made = trained(first, second)
    chosen_BNE = weights(made, x_BND) > 0
    made(x_BND, GRID)
    for index, expert in enumerate((first, second)):
        assert torch.equal(torch.cat(expert.seen), x_BND[chosen_BNE[..., index]])
    assert 0 < sum(len(seen) for seen in first.seen + second.seen) < B * N


def test_soft_routing_runs_each_expert_once_on_every_token(
    x_BND: Tensor, trained: Callable[..., SpecialistSet]
) -> None:
    first, second = TokenExpert(), TokenExpert()
    trained(first, second, top_k=3)(x_BND, GRID)
    assert [len(tokens) for tokens in first.seen] == [B * N]
    assert [len(tokens) for tokens in second.seen] == [B * N]


def test_a_map_expert_sees_whole_images_and_their_grid(
    x_BND: Tensor, trained: Callable[..., SpecialistSet]
) -> None:
    expert = MapExpert()
    trained(expert)(x_BND, GRID)
    assert expert.seen == [(x_BND.shape, GRID)]


def test_a_map_experts_output_counts_for_the_tokens_routed_to_it_alone(
    x_BND: Tensor, trained: Callable[..., SpecialistSet]
) -> None:
    made = trained(MapExpert())
    chosen_BN = weights(made, x_BND)[..., 0] > 0
    touched_BN = made(x_BND, GRID).abs().sum(-1) > 0
    assert torch.equal(touched_BN, chosen_BN)
    assert 0 < int(chosen_BN.sum()) < B * N


def test_tokens_that_choose_none_call_no_expert_and_get_nothing(
    x_BND: Tensor, trained: Callable[..., SpecialistSet]
) -> None:
    expert = TokenExpert()
    made = trained(expert)
    made.router.bias_E[-1] = 1000
    assert torch.equal(made(x_BND, GRID), torch.zeros_like(x_BND))
    assert expert.seen == []


@all_gates
@pytest.mark.parametrize("top_k", [1, 3])
def test_an_image_alone_gets_what_it_gets_in_a_batch(
    gate: Gate, top_k: int, x_BND: Tensor, trained: Callable[..., SpecialistSet]
) -> None:
    made = trained(TokenExpert(), MapExpert(), gate=gate, top_k=top_k)
    alone = torch.cat([made(x_BND[image, None], GRID) for image in range(B)])
    torch.testing.assert_close(made(x_BND, GRID), alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("top_k", [2, 3])
def test_the_gradient_reaches_every_expert_and_every_router_row(
    top_k: int, x_BND: Tensor, trained: Callable[..., SpecialistSet]
) -> None:
    made = trained(TokenExpert(), MapExpert(), top_k=top_k)
    made(x_BND, GRID).square().sum().backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    assert made.router.weight_ED.grad is not None
    assert (made.router.weight_ED.grad.abs().sum(1) > 0).all()


def test_the_gradient_reaches_nothing_of_the_backbone(
    tiny_backbone: MoEBackbone, generator: torch.Generator, randomise: Callable[..., None]
) -> None:
    made = SpecialistSet(
        width=tiny_backbone.width,
        experts=[TokenExpert(tiny_backbone.width), MapExpert(tiny_backbone.width)],
        gate=TopKSoftmax(),
        top_k=2,
        kit="tests",
    )
    randomise(made)
    images = torch.randn(2, 3, 32, 32, generator=generator)
    tiny_backbone(images, branches={1: made}).final_BND.square().sum().backward()
    assert all(parameter.grad is not None for parameter in made.parameters())
    assert all(parameter.grad is None for parameter in tiny_backbone.parameters())


@pytest.mark.parametrize("top_k", [0, 3])
def test_more_options_than_there_are_is_refused(
    top_k: int, x_BND: Tensor, trained: Callable[..., SpecialistSet]
) -> None:
    with refused("usage/out-of-range"):
        trained(TokenExpert(), top_k=top_k)(x_BND, GRID)


def test_a_trace_files_the_routing_under_the_kits_name(
    x_BND: Tensor, trained: Callable[..., SpecialistSet]
) -> None:
    trace = RoutingTrace()
    trained(TokenExpert(), MapExpert(), top_k=2)(x_BND, GRID, trace=trace, block=5)
    (record,) = trace.blocks
    assert (record.block, record.kit) == (5, "tests")
    assert record.counts_BE.shape == (B, 3)
    assert int(record.counts_BE.sum()) == 2 * B * N

"""Dispatch: every expert computes its tokens, and the results return to their rows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from moekit import Routing, TopKSoftmax, UnitTopK
from moekit.moe.batched import dispatch_batched
from moekit.moe.dispatch import (
    dispatch_gathered,
    dispatch_grouped,
    dispatch_loop,
    dispatch_masked,
    run_bank,
)
from moekit.moe.experts import ExpertBank

T, D, E, H = 20, 32, 4, 16


@pytest.fixture
def bank(generator: torch.Generator) -> ExpertBank:
    def numbers(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator) / D**0.5

    return ExpertBank(
        w1_EHD=numbers(E, H, D),
        b1_EH=numbers(E, H),
        w2_EHD=numbers(E, H, D),
        b2_D=numbers(D),
        activation=nn.GELU(),
    )


@pytest.fixture
def x_TD(generator: torch.Generator) -> Tensor:
    return torch.randn(T, D, generator=generator)


@pytest.fixture
def route(generator: torch.Generator) -> Callable[..., Routing]:
    """Routings by kind; `ragged` gives a token any number of experts, none included."""
    scores_BNE = torch.randn(1, T, E, generator=generator)

    def make(kind: str) -> Routing:
        if kind == "ragged":
            weight_TE = scores_BNE[0].clamp_min(0)
        elif kind == "one expert":
            weight_TE = torch.zeros(T, E)
            weight_TE[:, 2] = 0.5
        elif kind == "nobody":
            weight_TE = torch.zeros(T, E)
        else:
            weight_TE = TopKSoftmax()(scores_BNE, k=int(kind)).weight_TE()
        token_P, expert_P = weight_TE.nonzero(as_tuple=True)
        return Routing(
            token_P=token_P,
            expert_P=expert_P,
            weight_P=weight_TE[token_P, expert_P],
            tokens=T,
            experts=E,
        )

    return make


every_kind = pytest.mark.parametrize("kind", ["1", "3", "4", "ragged", "one expert", "nobody"])


def naive(x_TD: Tensor, routing: Routing, bank: ExpertBank) -> Tensor:
    """One pair after the other, expert by expert, as the formula says."""
    y_TD = torch.zeros_like(x_TD)
    pairs = zip(routing.token_P, routing.expert_P, routing.weight_P, strict=True)
    for token, expert, weight in pairs:
        hidden = bank.activation(bank.w1_EHD[expert] @ x_TD[token] + bank.b1_EH[expert])
        y_TD[token] += weight * (hidden @ bank.w2_EHD[expert])
    return y_TD


@every_kind
def test_the_loop_equals_one_pair_after_the_other(
    kind: str, x_TD: Tensor, bank: ExpertBank, route: Callable[..., Routing]
) -> None:
    routing = route(kind)
    torch.testing.assert_close(
        dispatch_loop(x_TD, routing, bank.one_expert), naive(x_TD, routing, bank)
    )


@every_kind
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)], ids=str
)
def test_grouped_products_equal_the_loop(
    kind: str,
    dtype: torch.dtype,
    tolerance: float,
    x_TD: Tensor,
    bank: ExpertBank,
    route: Callable[..., Routing],
) -> None:
    routing = route(kind)
    expected = dispatch_loop(x_TD, routing, bank.one_expert)
    found = dispatch_grouped(x_TD.to(dtype), routing, bank)
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), expected, rtol=tolerance, atol=tolerance)


@every_kind
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)], ids=str
)
def test_batched_masked_and_gathered_products_equal_the_loop(
    kind: str,
    dtype: torch.dtype,
    tolerance: float,
    x_TD: Tensor,
    bank: ExpertBank,
    route: Callable[..., Routing],
) -> None:
    routing = route(kind)
    with torch.no_grad():
        expected = dispatch_loop(x_TD, routing, bank.one_expert) + bank.b2_D
        batched = dispatch_batched(x_TD, routing, bank, dtype=dtype)
        masked = dispatch_masked(x_TD, routing, bank) + bank.b2_D
        gathered = dispatch_gathered(x_TD, routing, bank) + bank.b2_D
    assert batched.dtype == dtype
    torch.testing.assert_close(batched.float(), expected, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(masked, expected)
    torch.testing.assert_close(gathered, expected)


def test_an_expert_without_tokens_is_not_called(
    x_TD: Tensor, route: Callable[..., Routing]
) -> None:
    calls: list[tuple[int, int]] = []

    def call(expert: int, tokens: Tensor) -> Tensor:
        calls.append((expert, len(tokens)))
        return tokens

    y_TD = dispatch_loop(x_TD, route("one expert"), call)
    assert calls == [(2, T)]
    torch.testing.assert_close(y_TD, 0.5 * x_TD)


def test_a_token_without_experts_gets_the_shared_bias_alone(
    x_TD: Tensor, bank: ExpertBank, route: Callable[..., Routing]
) -> None:
    y_TD = run_bank(x_TD, route("nobody"), bank)
    torch.testing.assert_close(y_TD, bank.b2_D.expand(T, D))


def test_the_shared_bias_is_added_once_however_many_experts_run(
    x_TD: Tensor, bank: ExpertBank, route: Callable[..., Routing]
) -> None:
    routing = route("3")
    torch.testing.assert_close(
        run_bank(x_TD, routing, bank), naive(x_TD, routing, bank) + bank.b2_D
    )


def test_the_sum_of_all_experts_is_the_dense_network(x_TD: Tensor, bank: ExpertBank) -> None:
    total_TD = sum(bank.one_expert(expert, x_TD) for expert in range(E)) + bank.b2_D
    torch.testing.assert_close(bank.all_experts(x_TD), total_TD)


def test_the_loop_keeps_the_dtype_of_its_tokens(
    x_TD: Tensor, bank: ExpertBank, route: Callable[..., Routing]
) -> None:
    half = bank.to(torch.bfloat16)
    assert run_bank(x_TD.bfloat16(), route("3"), half).dtype == torch.bfloat16


def gradients(y_TD: Tensor, wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    loss = (y_TD * torch.linspace(-1, 1, y_TD.numel()).view_as(y_TD)).sum()
    return dict(zip(wanted, torch.autograd.grad(loss, list(wanted.values())), strict=True))


def test_with_all_experts_the_gradients_are_those_of_the_dense_network(
    x_TD: Tensor, bank: ExpertBank
) -> None:
    x_TD.requires_grad_()
    wanted = {"x_TD": x_TD, **dict(bank.named_parameters())}
    routing = UnitTopK()(torch.zeros(1, T, E), k=E)
    routed = gradients(run_bank(x_TD, routing, bank), wanted)
    dense = gradients(bank.all_experts(x_TD), wanted)
    torch.testing.assert_close(routed, dense)


@pytest.mark.parametrize("kind", ["1", "3", "ragged"])
@pytest.mark.parametrize("way", [dispatch_gathered, dispatch_grouped, dispatch_masked, run_bank])
def test_all_ways_have_the_gradients_of_the_loop(
    way: Callable[..., Tensor],
    kind: str,
    x_TD: Tensor,
    bank: ExpertBank,
    route: Callable[..., Routing],
) -> None:
    x_TD.requires_grad_()
    routing = route(kind)
    routing.weight_P.requires_grad_()
    wanted = {"x": x_TD, "weight": routing.weight_P, "w1": bank.w1_EHD, "w2": bank.w2_EHD}
    torch.testing.assert_close(
        gradients(way(x_TD, routing, bank), wanted),
        gradients(dispatch_loop(x_TD, routing, bank.one_expert), wanted),
    )


def test_sizes_that_grouped_products_do_not_take_have_gradients_too(
    generator: torch.Generator,
) -> None:
    bank = ExpertBank(
        w1_EHD=torch.randn(E, 5, 7, generator=generator),
        b1_EH=torch.randn(E, 5, generator=generator),
        w2_EHD=torch.randn(E, 5, 7, generator=generator),
        b2_D=torch.zeros(7),
        activation=nn.GELU(),
    )
    x_TD = torch.randn(T, 7, generator=generator)
    routing = UnitTopK()(torch.randn(1, T, E, generator=generator), k=2)
    y_TD = run_bank(x_TD, routing, bank)
    y_TD.sum().backward()
    assert bank.w1_EHD.grad is not None
    torch.testing.assert_close(y_TD, naive(x_TD, routing, bank))


@pytest.mark.parametrize("kind", ["1", "3", "ragged"])
def test_with_some_experts_the_gradients_are_those_of_the_masked_dense_network(
    kind: str, x_TD: Tensor, bank: ExpertBank, route: Callable[..., Routing]
) -> None:
    x_TD.requires_grad_()
    routing = route(kind)
    routing.weight_P.requires_grad_()
    wanted = {"x": x_TD, "weight": routing.weight_P, "w1": bank.w1_EHD, "w2": bank.w2_EHD}
    experts_ETD = torch.stack([bank.one_expert(expert, x_TD) for expert in range(E)])
    masked_TD = torch.einsum("etd,te->td", experts_ETD, routing.weight_TE())
    torch.testing.assert_close(
        gradients(dispatch_loop(x_TD, routing, bank.one_expert), wanted),
        gradients(masked_TD, wanted),
    )

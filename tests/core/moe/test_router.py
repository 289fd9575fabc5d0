"""The router: scores, and the bias that balances the load."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from moekit import RoutingTrace, TopKSigmoid
from moekit.moe.router import Router

B, N, D, E = 4, 64, 16, 8


@pytest.fixture
def x_BND(generator: torch.Generator) -> Tensor:
    return torch.randn(B, N, D, generator=generator)


@pytest.fixture
def skewed(generator: torch.Generator, x_BND: Tensor) -> Router:
    """A router that prefers its first expert for nearly every token."""
    router = Router(D, E)
    torch.nn.init.normal_(router.weight_ED, std=0.3, generator=generator)
    x_BND[..., 0] = 1
    router.weight_ED.data[0, 0] += 2
    return router


def maxvio(router: Router, x_BND: Tensor) -> float:
    scores_BNE = router(x_BND)
    trace = RoutingTrace()
    routing = TopKSigmoid()(scores_BNE, k=2, bias_E=router.bias_E)
    trace.add(block=0, kit=None, routing=routing, scores_BNE=scores_BNE)
    return trace.blocks[0].maxvio


def test_all_experts_score_alike_at_the_start(x_BND: Tensor) -> None:
    assert Router(D, E)(x_BND).unique().tolist() == [0.0]


def test_scores_are_float32_whatever_the_arithmetic_around(skewed: Router, x_BND: Tensor) -> None:
    expected = skewed(x_BND)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = skewed(x_BND)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


def test_balancing_moves_busy_experts_down_and_idle_ones_up() -> None:
    router = Router(D, 4)
    router.balance(torch.tensor([10, 0, 2, 4]), rate=0.01)
    torch.testing.assert_close(router.bias_E, torch.tensor([-0.01, 0.01, 0.01, 0.0]))


def test_a_balanced_load_moves_nothing() -> None:
    router = Router(D, 4)
    router.balance(torch.full((4,), 7), rate=0.01)
    assert router.bias_E.tolist() == [0.0] * 4


def test_repeated_balancing_evens_out_a_skewed_load(skewed: Router, x_BND: Tensor) -> None:
    before = maxvio(skewed, x_BND)
    rows_before = skewed.weight_ED.detach().clone()
    for _ in range(100):
        routing = TopKSigmoid()(skewed(x_BND), k=2, bias_E=skewed.bias_E)
        skewed.balance(routing.counts_E(), rate=0.005)
    assert before > 1.5
    assert maxvio(skewed, x_BND) < 0.3
    assert torch.equal(skewed.weight_ED, rows_before)


def test_the_bias_is_stored_but_not_trained(skewed: Router) -> None:
    assert "bias_E" in skewed.state_dict()
    assert [name for name, _ in skewed.named_parameters()] == ["weight_ED"]

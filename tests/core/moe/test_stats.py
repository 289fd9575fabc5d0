"""Routing statistics, on routings whose answer is known."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from moekit import BlockRouting, Routing, RoutingTrace, UnitTopK

B, N, E = 2, 6, 4


def traced(scores_BNE: Tensor, routing: Routing | None = None) -> BlockRouting:
    trace = RoutingTrace()
    routing = UnitTopK()(scores_BNE, k=1) if routing is None else routing
    trace.add(block=0, kit=None, routing=routing, scores_BNE=scores_BNE)
    return trace.blocks[0]


def scores_for(experts: Sequence[int]) -> Tensor:
    """Scores that send token i to expert experts[i], beyond doubt."""
    return 100 * torch.nn.functional.one_hot(torch.tensor(experts), E).float().view(B, N, E)


def test_loads_sum_to_one(generator: torch.Generator) -> None:
    load_E = traced(torch.randn(B, N, E, generator=generator)).load_E
    assert load_E.shape == (E,)
    assert float(load_E.sum()) == pytest.approx(1)


def test_load_is_the_share_of_the_pairs() -> None:
    record = traced(scores_for([0] * 6 + [1, 1, 1, 3, 3, 3]))
    assert record.load_E.tolist() == [0.5, 0.25, 0.0, 0.25]


def test_tokens_are_counted_image_by_image() -> None:
    record = traced(scores_for([0] * 6 + [1, 1, 1, 3, 3, 3]))
    assert record.counts_BE.tolist() == [[6, 0, 0, 0], [0, 3, 0, 3]]


def test_a_certain_router_has_no_entropy() -> None:
    assert traced(scores_for([2] * 12)).entropy == pytest.approx(0, abs=1e-6)


def test_an_undecided_router_has_the_greatest_entropy() -> None:
    assert traced(torch.zeros(B, N, E)).entropy == pytest.approx(math.log(E))


def test_entropy_lies_between_its_bounds(generator: torch.Generator) -> None:
    entropy = traced(torch.randn(B, N, E, generator=generator)).entropy
    assert 0 < entropy < math.log(E)


def test_a_single_busy_expert_exceeds_the_mean_by_all_others() -> None:
    assert traced(scores_for([2] * 12)).maxvio == pytest.approx(E - 1)


def test_a_balanced_load_violates_nothing() -> None:
    assert traced(scores_for([0, 1, 2, 3] * 3)).maxvio == pytest.approx(0)


def test_half_the_load_on_one_of_four_is_a_violation_of_one() -> None:
    assert traced(scores_for([0] * 6 + [1, 1, 2, 2, 3, 3])).maxvio == pytest.approx(1)


def test_experts_without_tokens_are_named_dead() -> None:
    assert traced(scores_for([0] * 6 + [2] * 6)).dead == [1, 3]
    assert traced(scores_for([0, 1, 2, 3] * 3)).dead == []


def test_a_routing_without_pairs_has_no_load_and_no_violation() -> None:
    nobody = UnitTopK()(torch.zeros(B, N, E), k=1).restricted_to([])
    record = traced(torch.zeros(B, N, E), nobody)
    assert record.load_E.tolist() == [0.0] * E
    assert record.maxvio == 0


def test_a_trace_keeps_the_order_and_the_names() -> None:
    trace, scores_BNE = RoutingTrace(), torch.zeros(B, N, E)
    routing = UnitTopK()(scores_BNE, k=2)
    for block, kit in ((3, None), (3, "tests"), (7, None)):
        trace.add(block=block, kit=kit, routing=routing, scores_BNE=scores_BNE)
    assert [(record.block, record.kit) for record in trace.blocks] == [
        (3, None),
        (3, "tests"),
        (7, None),
    ]


def test_a_trace_holds_no_graph() -> None:
    scores_BNE = torch.zeros(B, N, E, requires_grad=True)
    record = traced(scores_BNE)
    assert isinstance(record.entropy, float)
    assert not record.counts_BE.requires_grad

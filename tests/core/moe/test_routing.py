"""Routings: lists of token-expert pairs."""

from __future__ import annotations

import pytest
import torch

from moekit import Routing


@pytest.fixture
def routing() -> Routing:
    """Two images of two tokens, three experts; the last token has none."""
    return Routing(
        token_P=torch.tensor([0, 0, 1, 2]),
        expert_P=torch.tensor([2, 0, 2, 0]),
        weight_P=torch.tensor([0.5, 0.25, 1.0, 2.0]),
        tokens=4,
        experts=3,
    )


def test_the_dense_weights_are_zero_where_a_pair_is_absent(routing: Routing) -> None:
    assert routing.weight_TE().tolist() == [
        [0.25, 0.0, 0.5],
        [0.0, 0.0, 1.0],
        [2.0, 0.0, 0.0],
        [0.0, 0.0, 0.0],
    ]


def test_tokens_are_counted_by_expert_and_by_image(routing: Routing) -> None:
    assert routing.counts_E().tolist() == [2, 0, 2]
    assert routing.counts_BE(2).tolist() == [[1, 0, 2], [1, 0, 0]]


def test_a_restricted_routing_has_the_pairs_of_the_named_experts_alone(routing: Routing) -> None:
    kept = routing.restricted_to([2])
    assert kept.token_P.tolist() == [0, 1]
    assert kept.weight_P.tolist() == [0.5, 1.0]
    assert (kept.tokens, kept.experts) == (4, 3)


def test_a_routing_restricted_to_nobody_is_empty(routing: Routing) -> None:
    assert routing.restricted_to([]).counts_E().tolist() == [0, 0, 0]


def test_choices_become_one_pair_each() -> None:
    routing = Routing.of_choices(
        torch.tensor([[1, 0], [2, 1]]), torch.tensor([[0.1, 0.2], [0.3, 0.4]]), experts=4
    )
    expected = torch.tensor([[0.2, 0.1, 0.0, 0.0], [0.0, 0.4, 0.3, 0.0]])
    assert torch.equal(routing.weight_TE(), expected)


def test_a_routing_of_known_order_is_cut_into_parts() -> None:
    expert_TK = torch.arange(14).view(7, 2) % 4
    weight_TK = torch.arange(14.0).view(7, 2)
    whole = Routing.of_choices(expert_TK, weight_TK, experts=4)
    parts = list(whole.parts(3))
    assert [first for first, _ in parts] == [0, 3, 5]
    weights = torch.cat([part.weight_TE() for _, part in parts])
    assert torch.equal(weights, whole.weight_TE())


def test_a_routing_of_unknown_order_stays_whole(routing: Routing) -> None:
    assert [(first, part is routing) for first, part in routing.parts(1)] == [(0, True)]

"""Gates: how scores become chosen experts and weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from moekit import ExpertChoice, Gate, TopKSigmoid, TopKSoftmax, UnitTopK
from moekit.testing import refused

B, N, E = 2, 13, 8
TOP_K = [UnitTopK(), TopKSoftmax(), TopKSigmoid()]
ALL = [*TOP_K, ExpertChoice()]

top_k_gates = pytest.mark.parametrize("gate", TOP_K, ids=lambda gate: type(gate).__name__)
all_gates = pytest.mark.parametrize("gate", ALL, ids=lambda gate: type(gate).__name__)
every_k = pytest.mark.parametrize("k", range(1, E + 1))


@pytest.fixture
def scores_BNE(generator: torch.Generator) -> Tensor:
    return torch.randn(B, N, E, generator=generator)


def same_choice_and_weights(found: Tensor, expected: Tensor) -> None:
    """The same experts exactly, and their weights to rounding."""
    assert torch.equal(found > 0, expected > 0)
    torch.testing.assert_close(found, expected)


@all_gates
def test_each_gate_keeps_the_protocol(gate: Gate) -> None:
    assert isinstance(gate, Gate)


@every_k
@top_k_gates
def test_a_token_has_k_different_experts(gate: Gate, k: int, scores_BNE: Tensor) -> None:
    chosen_TE = gate(scores_BNE, k=k).weight_TE() > 0
    assert chosen_TE.sum(1).tolist() == [k] * (B * N)


@every_k
@top_k_gates
def test_the_chosen_experts_have_the_highest_scores(gate: Gate, k: int, scores_BNE: Tensor) -> None:
    chosen_TE = gate(scores_BNE, k=k).weight_TE() > 0
    scores_TE = scores_BNE.flatten(0, 1)
    least_chosen_T = scores_TE.masked_fill(~chosen_TE, math.inf).amin(1)
    best_left_T = scores_TE.masked_fill(chosen_TE, -math.inf).amax(1)
    assert (least_chosen_T >= best_left_T).all()


@every_k
@pytest.mark.parametrize("gate", [TopKSoftmax(), TopKSigmoid()])
def test_the_weights_of_a_token_sum_to_one(gate: Gate, k: int, scores_BNE: Tensor) -> None:
    sums_T = gate(scores_BNE, k=k).weight_TE().sum(1)
    torch.testing.assert_close(sums_T, torch.ones(B * N))


@all_gates
def test_a_gate_says_truly_whether_its_weights_are_one(gate: Gate, scores_BNE: Tensor) -> None:
    weight_P = gate(scores_BNE, k=3).weight_P
    assert gate.unit_weights == bool((weight_P == 1).all())


def test_softmax_weights_compare_the_chosen_scores_alone() -> None:
    scores_BNE = torch.tensor([[[1.0, 3.0, -5.0, 2.0]]])
    weight_TE = TopKSoftmax()(scores_BNE, k=2).weight_TE()
    high, low = math.e / (math.e + 1), 1 / (math.e + 1)
    torch.testing.assert_close(weight_TE, torch.tensor([[0.0, high, 0.0, low]]))


def test_sigmoid_weights_are_shares_of_the_affinities() -> None:
    scores_BNE = torch.tensor([0.2, 0.6, 0.9, 0.1]).logit()[None, None]
    weight_TE = TopKSigmoid()(scores_BNE, k=2).weight_TE()
    torch.testing.assert_close(weight_TE, torch.tensor([[0.0, 0.4, 0.6, 0.0]]))


def test_sigmoid_weights_stay_finite_where_every_affinity_vanishes() -> None:
    weight_P = TopKSigmoid()(torch.full((1, 2, 4), -500.0), k=2).weight_P
    assert weight_P.isfinite().all()


@all_gates
def test_permuted_tokens_give_the_permuted_result(
    gate: Gate, scores_BNE: Tensor, generator: torch.Generator
) -> None:
    order = torch.randperm(N, generator=generator)
    plain = gate(scores_BNE, k=3).weight_TE().view(B, N, E)
    permuted = gate(scores_BNE[:, order], k=3).weight_TE().view(B, N, E)
    same_choice_and_weights(permuted, plain[:, order])


@all_gates
def test_permuted_experts_give_the_permuted_result(
    gate: Gate, scores_BNE: Tensor, generator: torch.Generator
) -> None:
    order = torch.randperm(E, generator=generator)
    plain = gate(scores_BNE, k=3).weight_TE()
    permuted = gate(scores_BNE[..., order], k=3).weight_TE()
    same_choice_and_weights(permuted, plain[:, order])


@all_gates
@pytest.mark.parametrize("k", [1, 3, E])
def test_an_image_is_routed_alone_as_it_is_in_a_batch(
    gate: Gate, k: int, scores_BNE: Tensor
) -> None:
    together = gate(scores_BNE, k=k).weight_TE().view(B, N, E)
    alone = [gate(scores_BNE[image, None], k=k).weight_TE() for image in range(B)]
    same_choice_and_weights(together, torch.stack(alone))


@all_gates
def test_with_k_of_all_experts_every_token_has_them_all(gate: Gate, scores_BNE: Tensor) -> None:
    assert (gate(scores_BNE, k=E).weight_TE() > 0).all()


@all_gates
@pytest.mark.parametrize("k", [-1, 0, E + 1])
def test_an_impossible_k_is_refused(gate: Gate, k: int, scores_BNE: Tensor) -> None:
    with refused("usage/out-of-range", match=f"{k}.*{E}"):
        gate(scores_BNE, k=k)


@top_k_gates
def test_a_bias_decides_who_is_chosen(gate: Gate, scores_BNE: Tensor) -> None:
    bias_E = torch.zeros(E)
    bias_E[5] = 100
    counts_E = gate(scores_BNE, k=2, bias_E=bias_E).counts_E()
    assert counts_E[5] == B * N
    assert gate(scores_BNE, k=2).counts_E()[5] < B * N


@top_k_gates
def test_a_bias_leaves_the_weights_alone(gate: Gate, scores_BNE: Tensor) -> None:
    bias_E = torch.zeros(E)
    bias_E[:3] = 100
    biased = gate(scores_BNE, k=3, bias_E=bias_E).weight_TE()
    only_those = gate(scores_BNE[..., :3], k=3).weight_TE()
    torch.testing.assert_close(biased[:, :3], only_those)


@pytest.mark.parametrize(("k", "capacity"), [(1, 2), (3, 5), (E, N)])
def test_each_expert_takes_exactly_its_capacity_of_every_image(
    k: int, capacity: int, scores_BNE: Tensor
) -> None:
    counts_BE = ExpertChoice()(scores_BNE, k=k).counts_BE(B)
    assert capacity == math.ceil(N * k / E)
    assert counts_BE.tolist() == [[capacity] * E] * B


def test_each_expert_takes_the_tokens_that_suit_it_best() -> None:
    scores_BNE = torch.tensor([[[4.0, 0.0], [3.0, 0.0], [0.0, 2.0], [0.0, 0.0]]])
    weight_TE = ExpertChoice()(scores_BNE, k=1).weight_TE()
    expected_TE = scores_BNE[0].softmax(1)
    expected_TE[[2, 3], 0] = 0
    expected_TE[[0, 1], 1] = 0
    torch.testing.assert_close(weight_TE, expected_TE)


def test_a_bias_does_not_touch_the_choice_of_experts_that_choose(scores_BNE: Tensor) -> None:
    bias_E = torch.linspace(-9, 9, E)
    plain, biased = (ExpertChoice()(scores_BNE, k=3, bias_E=bias) for bias in (None, bias_E))
    assert torch.equal(plain.weight_TE(), biased.weight_TE())


@pytest.mark.parametrize("gate", [TopKSoftmax(), TopKSigmoid(), ExpertChoice()])
def test_the_router_learns_through_the_weights(gate: Gate, scores_BNE: Tensor) -> None:
    scores_BNE.requires_grad_()
    gate(scores_BNE, k=3).weight_TE()[:, 0].sum().backward()
    assert scores_BNE.grad is not None
    assert scores_BNE.grad.abs().sum() > 0

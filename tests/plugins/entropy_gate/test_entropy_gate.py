"""The entropy-adaptive gate keeps the contract and counts as it says."""

import math

import pytest
import torch

from moekit.testing import parametrize_with_checks
from moekit_entropy_gate.gate import EntropyAdaptive


@parametrize_with_checks("moekit-entropy-gate")
def test_the_plugin_keeps_the_contract(check):
    check.run()


@pytest.mark.parametrize("between", [1, 2, 3, 5])
def test_a_token_undecided_between_some_experts_gets_as_many(between):
    scores = torch.full((1, 1, 8), -50.0)
    scores[..., :between] = 1.0
    routing = EntropyAdaptive()(scores, k=8)
    assert sorted(routing.expert_P.tolist()) == list(range(between))
    assert torch.allclose(routing.weight_P, torch.full((between,), 1 / between))


def test_k_is_the_most_that_a_token_gets():
    routing = EntropyAdaptive()(torch.zeros(1, 3, 8), k=2)
    assert routing.counts_E().sum() == 6


def test_decided_tokens_cost_less_than_undecided_ones():
    torch.manual_seed(0)
    scores = torch.randn(1, 200, 16)
    cold, warm = (EntropyAdaptive()(scores * scale, k=16) for scale in (5.0, 0.5))
    assert len(cold.token_P) < len(warm.token_P) / 3


def test_the_perplexity_of_two_unequal_experts_is_between_one_and_two():
    odds = math.log(0.9 / 0.1)
    routing = EntropyAdaptive()(torch.tensor([[[odds, 0.0]]]), k=2)
    # exp(H(0.9, 0.1)) = 1.38, which rounds to one expert.
    assert routing.expert_P.tolist() == [0]


class _Weights(torch.nn.Module):
    """What each expert weighs for each token."""

    def forward(self, scores):
        return EntropyAdaptive()(scores, k=4).weight_TE()


def test_in_an_exported_graph_the_weights_are_the_same():
    scores = 2 * torch.randn(2, 50, 8, generator=torch.Generator().manual_seed(0))
    dynamic = ({0: torch.export.Dim("images")},)
    graph = torch.export.export(_Weights(), (scores,), dynamic_shapes=dynamic).module()
    assert len({int(count) for count in (_Weights()(scores) > 0).sum(1)}) > 1
    for images in (scores, scores[:1].repeat(3, 1, 1)):
        torch.testing.assert_close(graph(images), _Weights()(images))

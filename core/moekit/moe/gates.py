"""Gates: the rules that turn router scores into chosen experts and weights.

A gate sees the scores of a batch image by image and decides within each image alone, so that the
result for one image never depends on its neighbours in the batch.

Shapes: B images, N tokens an image, E experts, K chosen, C capacity, T = B * N tokens.
"""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from moekit.errors import UsageError
from moekit.moe.routing import Routing


@runtime_checkable
class Gate(Protocol):
    """A gating policy.

    Attributes:
        unit_weights: True if every chosen expert has weight 1, so that choosing all of them is
            their plain sum.
    """

    unit_weights: bool

    def __call__(self, scores_BNE: Tensor, *, k: int, bias_E: Tensor | None = None) -> Routing:
        """Chooses experts.

        Args:
            scores_BNE: (B, N, E) float, the router's raw scores.
            k: Experts a token may have, on average for gates that vary it; 1 to E.
            bias_E: (E,) float added to the scores for the choice only, never to the weights.

        Returns:
            Pairs over the flattened tokens, in which each image was treated alone.
        """
        ...


class UnitTopK:
    """The k best experts of a token, each with weight 1.

    The gate of a partitioned FFN: its experts are slices whose plain sum is the dense layer
    (MoEfication, Zhang et al. 2022, arXiv:2110.01786).
    """

    unit_weights = True

    def __call__(self, scores_BNE: Tensor, *, k: int, bias_E: Tensor | None = None) -> Routing:
        """See `Gate`."""
        scores_TE = scores_BNE.flatten(0, 1)
        expert_TK = _choose(scores_TE, k, bias_E)
        return _routing(expert_TK, torch.ones_like(expert_TK, dtype=scores_TE.dtype), scores_TE)


class TopKSoftmax:
    """The k best experts of a token, weighted by a softmax over the chosen scores.

    Shazeer et al. 2017, arXiv:1701.06538. The weights of a token sum to 1.
    """

    unit_weights = False

    def __call__(self, scores_BNE: Tensor, *, k: int, bias_E: Tensor | None = None) -> Routing:
        """See `Gate`."""
        scores_TE = scores_BNE.flatten(0, 1)
        expert_TK = _choose(scores_TE, k, bias_E)
        weight_TK = scores_TE.gather(1, expert_TK).softmax(dim=1)
        return _routing(expert_TK, weight_TK, scores_TE)


class TopKSigmoid:
    """The k best experts by sigmoid affinity plus a balancing bias; weights without the bias.

    DeepSeek-V3 (arXiv:2412.19437, section 2.1.2) with the bias-only load balancing of Wang et al.
    2024 (arXiv:2408.15664): `Router.balance` moves the bias, no auxiliary loss is needed. The
    weights of a token sum to 1.
    """

    unit_weights = False

    def __call__(self, scores_BNE: Tensor, *, k: int, bias_E: Tensor | None = None) -> Routing:
        """See `Gate`."""
        affinity_TE = scores_BNE.flatten(0, 1).sigmoid()
        expert_TK = _choose(affinity_TE, k, bias_E)
        weight_TK = affinity_TE.gather(1, expert_TK)
        weight_TK = weight_TK / weight_TK.sum(dim=1, keepdim=True).clamp_min(1e-20)
        return _routing(expert_TK, weight_TK, affinity_TE)


class ExpertChoice:
    """Every expert takes the tokens of an image that suit it best, up to its capacity.

    Zhou et al. 2022, arXiv:2202.09368. The capacity is C = ceil(N * k / E) tokens an image and
    expert, so the load is even by construction; a token may have no expert or several. Weights are
    the softmax over experts and do not sum to 1. A bias changes nothing: it would move all tokens
    of an expert alike.
    """

    unit_weights = False

    def __call__(self, scores_BNE: Tensor, *, k: int, bias_E: Tensor | None = None) -> Routing:
        """See `Gate`."""
        del bias_E
        images, tokens, experts = scores_BNE.shape
        check_k(k, experts)
        probability_BNE = scores_BNE.softmax(dim=2)
        capacity = math.ceil(tokens * k / experts)
        token_BCE = probability_BNE.topk(capacity, dim=1).indices
        weight_BCE = probability_BNE.gather(1, token_BCE)
        first_B = torch.arange(images, device=scores_BNE.device) * tokens
        expert_E = torch.arange(experts, device=scores_BNE.device)
        return Routing(
            token_P=(token_BCE + first_B[:, None, None]).reshape(-1),
            expert_P=expert_E.expand_as(token_BCE).reshape(-1),
            weight_P=weight_BCE.reshape(-1),
            tokens=images * tokens,
            experts=experts,
        )


def _choose(score_TE: Tensor, k: int, bias_E: Tensor | None) -> Tensor:
    check_k(k, score_TE.shape[1])
    ranked_TE = score_TE if bias_E is None else score_TE + bias_E
    return ranked_TE.topk(k, dim=1, sorted=False).indices


def _routing(expert_TK: Tensor, weight_TK: Tensor, score_TE: Tensor) -> Routing:
    return Routing.of_choices(expert_TK, weight_TK, experts=score_TE.shape[1])


def check_k(k: int, experts: int) -> None:
    """Refuses a number of chosen experts that there cannot be.

    Raises:
        UsageError: k is not in [1, experts].
    """
    if not 1 <= k <= experts:
        raise UsageError(
            f"top_k is {k}, but a token can have 1 to {experts} experts",
            whose="top_k",
            fix=f"choose a value from 1 to {experts}",
            code="usage/out-of-range",
        )

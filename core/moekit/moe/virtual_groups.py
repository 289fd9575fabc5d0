"""The gate of an upcycled FFN: slices, each with replicas, in virtual groups.

Expert `g * S + s` is replica `g` of slice `s`. The S experts of one `g` are a virtual group:
together one whole FFN.

Shapes: B images, N tokens, E experts, S slices, T = B * N tokens, K chosen.
"""

from __future__ import annotations

import torch
from torch import Tensor

from moekit.moe.gates import check_k
from moekit.moe.routing import Routing


class VirtualGroupTopK:
    """The k best experts of a token, weighted by a softmax over the chosen scores, times S.

    He et al. 2024 (arXiv:2410.07524): as long as the router's rows are equal within a virtual
    group, k = S chooses one group whole, each expert with the weight 1, and k = n * S chooses n
    groups whose weights sum to 1: the layer is then the dense FFN. The choice is free: training
    may break the groups up. Among equal scores the lower expert comes first, so ties between groups
    do not mix them either.

    Args:
        slices: S.
    """

    unit_weights = False

    def __init__(self, slices: int) -> None:
        self.slices = slices

    def __call__(self, scores_BNE: Tensor, *, k: int, bias_E: Tensor | None = None) -> Routing:
        """See `Gate`."""
        scores_TE = scores_BNE.flatten(0, 1)
        check_k(k, scores_TE.shape[1])
        ranked_TE = scores_TE if bias_E is None else scores_TE + bias_E
        expert_TK = torch.sort(ranked_TE, dim=1, descending=True, stable=True).indices[:, :k]
        weight_TK = scores_TE.gather(1, expert_TK).softmax(dim=1) * self.slices
        return Routing.of_choices(expert_TK, weight_TK, experts=scores_TE.shape[1])

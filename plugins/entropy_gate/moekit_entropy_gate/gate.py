"""The entropy-adaptive gate.

Shapes: B images, N tokens, E experts, K at most chosen, T = B * N tokens, P token-expert pairs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from moekit import Routing


class EntropyAdaptive:
    """As many experts as a token is undecided between, k at most.

    The exponential of the entropy of softmax(scores) is the number of equally likely experts that
    would be as undecided (perplexity); a token gets that number, rounded to the nearest, from 1 to
    k, of its best experts, weighted by a softmax over the chosen scores. Harder tokens so cost
    more: in the line of Huang et al. 2024 (arXiv:2403.07652), who choose by cumulative probability.
    """

    unit_weights = False

    def __call__(self, scores_BNE: Tensor, *, k: int, bias_E: Tensor | None = None) -> Routing:
        """See `moekit.Gate`; k is the greatest number of experts."""
        scores_TE = scores_BNE.flatten(0, 1)
        ranked_TE = scores_TE if bias_E is None else scores_TE + bias_E
        expert_TK = ranked_TE.topk(k, dim=1).indices
        keep_TK = torch.arange(k, device=scores_TE.device) < _wanted(scores_TE, k)[:, None]
        chosen_TK = scores_TE.gather(1, expert_TK).masked_fill(~keep_TK, -torch.inf)
        if torch.compiler.is_exporting():
            # A graph has pairs of a fixed number, of weight 0 if one is absent.
            weight_TK = chosen_TK.softmax(dim=1)
            return Routing.of_choices(expert_TK, weight_TK, experts=scores_TE.shape[1])
        token_TK = torch.arange(len(scores_TE), device=scores_TE.device)[:, None].expand_as(keep_TK)
        return Routing(
            token_P=token_TK[keep_TK],
            expert_P=expert_TK[keep_TK],
            weight_P=chosen_TK.softmax(dim=1)[keep_TK],
            tokens=scores_TE.shape[0],
            experts=scores_TE.shape[1],
        )


@torch.no_grad()
def _wanted(scores_TE: Tensor, k: int) -> Tensor:
    """(T,) how many experts each token gets: its perplexity, from 1 to k."""
    log_TE = scores_TE.float().log_softmax(dim=1)
    entropy_T = -(log_TE.exp() * log_TE).sum(dim=1)
    return entropy_T.exp().round().clamp(1, k)

"""From a sample of tokens to the form of a block, in closed form.

Shapes: T tokens, D width, F hidden neurons, E experts.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moekit.backbone.sparse.cluster import order_of
from moekit.backbone.sparse.form import BlockForm
from moekit.backbone.sparse.methods import Method, group_neurons, route
from moekit.backbone.sparse.neurons import Excess, Neurons, excess_over
from moekit.backbone.sparse.regression import Regression

_CORRECTION_RIDGE = 1e-3
_STRENGTH_TOKENS = 4000


def carve_block(
    method: Method, neurons: Neurons, x_TD: Tensor, *, experts: int, top_k: int, rank: int
) -> BlockForm:
    """Groups the neurons of one FFN, fits stand-ins, router and correction.

    Args:
        method: How.
        neurons: The dense FFN, on the CPU in float32.
        x_TD: (T, D) float32 inputs that it sees on real images.
        experts: E.
        top_k: The number of experts that the correction is fitted for, shared ones included.
        rank: R of the correction; 0 for none.
    """
    excess = excess_over(method.stand_in, neurons, x_TD)
    cluster_F = group_neurons(method, neurons, x_TD, excess, experts)
    router_ED, choice_E = route(method, neurons, x_TD, excess, cluster_F, experts)
    scores_TE = nn.functional.linear(x_TD, router_ED) + choice_E
    if method.correct and rank:
        down_RD, up_DR, bias_D = _correction(
            neurons, x_TD, excess, cluster_F, scores_TE, top_k, rank
        )
    else:
        width = x_TD.shape[1]
        down_RD, up_DR = x_TD.new_zeros(0, width), x_TD.new_zeros(width, 0)
        bias_D = x_TD.new_zeros(width)
    few = slice(0, _STRENGTH_TOKENS)
    added_TD = nn.functional.linear(x_TD[few] @ down_RD.T, up_DR, bias_D)
    return BlockForm(
        order_F=order_of(cluster_F),
        slope_F=excess.slope_F,
        offset_F=excess.offset_F,
        router_ED=router_ED,
        choice_E=choice_E,
        down_RD=down_RD,
        up_DR=up_DR,
        bias_D=bias_D,
        strength_E=_strengths(neurons, excess.excess_TF[few], cluster_F, scores_TE[few], added_TD),
    )


def _correction(
    neurons: Neurons,
    x_TD: Tensor,
    excess: Excess,
    cluster_F: Tensor,
    scores_TE: Tensor,
    top_k: int,
    rank: int,
) -> tuple[Tensor, Tensor, Tensor]:
    chosen_TE = torch.zeros_like(scores_TE).scatter(1, scores_TE.topk(top_k, dim=1).indices, 1.0)
    left_TF = excess.excess_TF * (1 - chosen_TE)[:, cluster_F]
    fit = Regression(x_TD.shape[1], x_TD.shape[1])
    fit.add(x_TD, left_TF @ neurons.w2_FD)
    weights_DD, bias_D = fit.solve(_CORRECTION_RIDGE)
    return *fit.low_rank(weights_DD, rank), bias_D


def _strengths(
    neurons: Neurons, excess_TF: Tensor, cluster_F: Tensor, scores_TE: Tensor, added_TD: Tensor
) -> Tensor:
    """(E,) how much of the correction is right when k experts run: least squares for each k."""
    experts = scores_TE.shape[1]
    power = added_TD.square().sum()
    rank_TE = scores_TE.argsort(dim=1, descending=True).argsort(dim=1)
    strength_E = scores_TE.new_zeros(experts)
    if power <= 0:
        return strength_E
    for k in range(1, experts):
        left_TF = excess_TF * (rank_TE >= k).to(excess_TF.dtype)[:, cluster_F]
        strength_E[k - 1] = ((left_TF @ neurons.w2_FD) * added_TD).sum() / power
    return strength_E

"""Dispatch and combine: every expert computes its tokens, the results return to their rows.

Pairs are sorted by expert, so each expert sees one contiguous piece. On CPU a loop over the pieces
is used; `grouped_mm` does all pieces in one call and is used on CUDA in bfloat16.

Shapes: T tokens, D width, E experts, H hidden, P token-expert pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from moekit.moe.routing import Routing

if TYPE_CHECKING:
    from moekit.moe.experts import ExpertBank

ExpertCall = Callable[[int, Tensor], Tensor]


def dispatch_loop(x_TD: Tensor, routing: Routing, call: ExpertCall) -> Tensor:
    """Runs each expert on its tokens and adds the weighted results up.

    Args:
        x_TD: (T, D) tokens.
        routing: The pairs. An expert without tokens is not called.
        call: Given an expert's number and its (n, D) tokens, returns its (n, D) output.

    Returns:
        (T, D) in the dtype of `x_TD`; zero where a token has no expert.
    """
    _, token_P, weight_P1 = _sorted_pairs(routing)
    sizes = torch.bincount(routing.expert_P, minlength=routing.experts).tolist()
    pieces = []
    for expert, tokens in enumerate(torch.split(x_TD[token_P], sizes)):
        if len(tokens):
            pieces.append(call(expert, tokens).to(x_TD.dtype))
    if not pieces:
        return torch.zeros_like(x_TD)
    y_PD = torch.cat(pieces) * weight_P1.to(x_TD.dtype)
    return torch.zeros_like(x_TD).index_add(0, token_P, y_PD)


def dispatch_grouped(x_TD: Tensor, routing: Routing, bank: ExpertBank) -> Tensor:
    """The same as `dispatch_loop` over a bank, by two grouped matrix products.

    `torch.nn.functional.grouped_mm` needs offsets that end at the last row: rows past it are left
    uninitialised, so every pair lies inside a group here.
    """
    order_P, token_P, weight_P1 = _sorted_pairs(routing)
    ends_E = routing.counts_E().cumsum(0).to(torch.int32)
    expert_P = routing.expert_P[order_P]
    x_PD = x_TD[token_P]
    w1_EDH = bank.w1_EHD.to(x_PD.dtype).transpose(1, 2)
    hidden_PH = nn.functional.grouped_mm(x_PD, w1_EDH, offs=ends_E)
    hidden_PH = bank.activation(hidden_PH + bank.b1_EH.to(x_PD.dtype)[expert_P])
    y_PD = nn.functional.grouped_mm(hidden_PH, bank.w2_EHD.to(x_PD.dtype), offs=ends_E)
    y_PD = (y_PD * weight_P1.to(y_PD.dtype)).to(x_TD.dtype)
    return torch.zeros_like(x_TD).index_add(0, token_P, y_PD)


def run_bank(x_TD: Tensor, routing: Routing, bank: ExpertBank) -> Tensor:
    """Runs the chosen experts of a bank by the path that suits the device, bias included."""
    if x_TD.is_cuda and x_TD.dtype == torch.bfloat16:
        return dispatch_grouped(x_TD, routing, bank) + bank.b2_D.to(x_TD.dtype)
    return dispatch_loop(x_TD, routing, bank.one_expert) + bank.b2_D.to(x_TD.dtype)


def _sorted_pairs(routing: Routing) -> tuple[Tensor, Tensor, Tensor]:
    order_P = torch.argsort(routing.expert_P, stable=True)
    return order_P, routing.token_P[order_P], routing.weight_P[order_P, None]

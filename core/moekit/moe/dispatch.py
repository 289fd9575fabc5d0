"""Dispatch and combine: every expert computes its tokens, the results return to their rows.

All ways agree to rounding, in results and in gradients; `run_bank` chooses by what is known before
the first token is looked at:

| where | way |
| --- | --- |
| `torch.export` | `dispatch_gathered`: no control flow on data, an expert's rows gathered |
| `torch.jit.trace` | `dispatch_masked`: shapes that depend on no data either |
| CPU, nothing to differentiate | `dispatch_batched`, see `moekit.moe.batched` |
| CPU with gradients; CUDA in bfloat16 | `dispatch_grouped`: all experts in one call |
| elsewhere, or if the sizes do not suit it | `dispatch_loop`: one expert after the other |

Forward and backward of 16 experts of 384 x 96, top-4, on one thread (AVX-512 with bfloat16): the
grouped call takes 0.85 (2,048 tokens, float32) to 0.5 (256 tokens, bfloat16) of the loop's time.

Shapes: T tokens, D width, E experts, H hidden, F = E * H, P token-expert pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from moekit.moe.bank import Bank
from moekit.moe.batched import dispatch_batched, is_aligned
from moekit.moe.routing import Routing, is_traced

ExpertCall = Callable[[int, Tensor], Tensor]


def run_bank(x_TD: Tensor, routing: Routing, bank: Bank) -> Tensor:
    """Runs the chosen experts of a bank by the way that suits, shared bias included.

    Returns:
        (T, D) in the dtype of `x_TD` or, under autocast and without gradients, in that of autocast,
        as a dense FFN; the shared bias if a token has no expert.
    """
    if torch.compiler.is_exporting():
        y_TD = dispatch_gathered(x_TD, routing, bank)
    elif is_traced():
        y_TD = dispatch_masked(x_TD, routing, bank)
    elif x_TD.device.type == "cpu" and not _differentiated(x_TD, routing, bank):
        return _without_gradients(x_TD, routing, bank)
    elif _suits_grouped(x_TD, bank.hidden):
        y_TD = dispatch_grouped(x_TD, routing, bank)
    else:
        y_TD = dispatch_loop(x_TD, routing, bank.one_expert)
    return y_TD + bank.b2_D.to(y_TD.dtype)


def dispatch_loop(x_TD: Tensor, routing: Routing, call: ExpertCall) -> Tensor:
    """Runs each expert on its tokens and adds the weighted results up.

    Args:
        x_TD: (T, D) tokens.
        routing: The pairs. An expert without tokens is not called.
        call: Given an expert's number and its (n, D) tokens, returns its (n, D) output.

    Returns:
        (T, D) in the dtype of `x_TD`; zero if a token has no expert.
    """
    order_P, token_P = _by_expert(routing)
    sizes = routing.counts_E().tolist()
    pieces = [
        call(expert, tokens).to(x_TD.dtype)
        for expert, tokens in enumerate(torch.split(x_TD.index_select(0, token_P), sizes))
        if len(tokens)
    ]
    if not pieces:
        return torch.zeros_like(x_TD)
    y_PD = torch.cat(pieces) * routing.weight_P[order_P, None].to(x_TD.dtype)
    return torch.zeros_like(x_TD).index_add(0, token_P, y_PD)


def dispatch_grouped(x_TD: Tensor, routing: Routing, bank: Bank) -> Tensor:
    """The same as `dispatch_loop` over a bank, by two grouped matrix products.

    `torch.nn.functional.grouped_mm` needs offsets that end at the last row: rows past it are left
    uninitialised, so every pair lies inside a group here.
    """
    order_P, token_P = _by_expert(routing)
    ends_E = routing.counts_E().cumsum(0).to(torch.int32)
    expert_P = routing.expert_P.index_select(0, order_P)
    dtype = _arithmetic(x_TD)
    x_PD = x_TD.to(dtype).index_select(0, token_P)
    w1_EDH = bank.w1_EHD.to(dtype).transpose(1, 2)
    hidden_PH = nn.functional.grouped_mm(x_PD, w1_EDH, offs=ends_E)
    hidden_PH = hidden_PH + bank.b1_EH.to(dtype).index_select(0, expert_P)
    hidden_PH = bank.activate(hidden_PH, expert_P)
    y_PD = nn.functional.grouped_mm(hidden_PH, bank.w2_EHD.to(dtype), offs=ends_E)
    y_PD = y_PD.to(x_TD.dtype) * routing.weight_P[order_P, None].to(x_TD.dtype)
    return torch.zeros_like(x_TD).index_add(0, token_P, y_PD)


def dispatch_masked(x_TD: Tensor, routing: Routing, bank: Bank) -> Tensor:
    """The same as `dispatch_loop` over a bank: all experts on all tokens, weighted by 0 if absent.

    E / K times the arithmetic, in shapes that depend on no data: two plain matrix products, as a
    dense FFN has them.
    """
    hidden_TF = nn.functional.linear(x_TD, bank.w1_EHD.flatten(0, 1), bank.b1_EH.flatten())
    hidden_TEH = bank.activate_all(hidden_TF.view(-1, bank.experts, bank.hidden))
    hidden_TEH = hidden_TEH * routing.weight_TE()[..., None].to(hidden_TEH.dtype)
    return nn.functional.linear(hidden_TEH.flatten(1), bank.w2_EHD.flatten(0, 1).T).to(x_TD.dtype)


def dispatch_gathered(x_TD: Tensor, routing: Routing, bank: Bank) -> Tensor:
    """The same as `dispatch_loop` over a bank, for a graph whose shapes may depend on data.

    Each expert has its place in the graph and computes the rows that have it, none included. Of 16
    experts of 384 x 96 at top-4, 8 images of 257 tokens, in OpenVINO on one thread, that takes 0.4
    of the time of `dispatch_masked` and 0.43 of that of the dense FFN.
    """
    weight_TE = routing.weight_TE()
    y_TD = torch.zeros_like(x_TD)
    for expert, weight_T in enumerate(weight_TE.unbind(1)):
        row_P = torch.nonzero(weight_T)[:, 0]
        y_PD = bank.one_expert(expert, x_TD.index_select(0, row_P))
        y_PD = y_PD * weight_T.index_select(0, row_P)[:, None].to(y_PD.dtype)
        y_TD = y_TD.index_add(0, row_P, y_PD.to(x_TD.dtype))
    return y_TD


def grouped_linear(x_GTD: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """(G, T, F): the rows of each group times its own (F, D) weights, as one grouped product.

    What a group gets does not depend on the others, to the bit, as tests hold on a CPU.

    Args:
        x_GTD: (G, T, D) in the dtype of the result, or what autocast changes to it.
        weights: G of them, of one shape.
    """
    groups, rows, width = x_GTD.shape
    if is_traced() or not _suits_grouped(x_GTD[0], len(weights[0])):
        pairs = zip(x_GTD, weights, strict=True)
        return torch.stack([nn.functional.linear(x, weight) for x, weight in pairs])
    dtype = _arithmetic(x_GTD)
    w_GDF = torch.stack(list(weights)).to(dtype).transpose(1, 2)
    ends_G = torch.arange(1, groups + 1, dtype=torch.int32, device=x_GTD.device) * rows
    x_PD = x_GTD.to(dtype).reshape(groups * rows, width)
    return nn.functional.grouped_mm(x_PD, w_GDF, offs=ends_G).view(groups, rows, -1)


def _without_gradients(x_TD: Tensor, routing: Routing, bank: Bank) -> Tensor:
    dtype = _arithmetic(x_TD)
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        return dispatch_batched(x_TD, routing, bank, dtype=dtype)


def _arithmetic(x_TD: Tensor) -> torch.dtype:
    """The dtype of matrix products: that of the tokens, or what autocast asks for."""
    kind = x_TD.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x_TD.dtype


def _suits_grouped(x_TD: Tensor, hidden: int) -> bool:
    """Whether `grouped_mm` is the fastest and takes these sizes."""
    dtype = _arithmetic(x_TD)
    fast = {"cuda": (torch.bfloat16,), "cpu": (torch.bfloat16, torch.float32)}
    aligned = is_aligned(x_TD.shape[1], hidden, dtype)
    return aligned and dtype in fast.get(x_TD.device.type, ())


def _differentiated(x_TD: Tensor, routing: Routing, bank: Bank) -> bool:
    if not torch.is_grad_enabled():
        return False
    tensors = (x_TD, routing.weight_P, *bank.parameters())
    return any(tensor.requires_grad for tensor in tensors)


def _by_expert(routing: Routing) -> tuple[Tensor, Tensor]:
    """The order that sorts the pairs by expert, and the token of each pair in it."""
    order_P = torch.argsort(routing.expert_P, stable=True)
    return order_P, routing.token_P.index_select(0, order_P)

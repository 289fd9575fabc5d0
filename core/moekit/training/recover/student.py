"""The sparse backbone as a student: every expert computed, the choice passing gradients on.

Top-k is a step function of the scores. The student multiplies each expert with its hard choice and
takes the gradient of a sigmoid around the last chosen score, the straight-through estimator (Bengio
et al. 2013, arXiv:1308.3432), so that a router learns what an expert it left out would have been
worth.

Shapes: B images, N tokens, D width, E experts, H hidden, F = E * H.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn

from moekit.backbone.block import MoEBlock
from moekit.backbone.model import MoEBackbone
from moekit.backbone.sparse.form import SparseForm
from moekit.errors import UsageError
from moekit.moe.layer import MoELayer
from moekit.moe.stand_in import StandIn, beyond_stand_in

_SOFTNESS = 0.25


def trained_parameters(backbone: MoEBackbone) -> Iterator[tuple[str, nn.Parameter]]:
    """Names and parameters that a recovery trains: routers and corrections.

    Raises:
        UsageError: The backbone has no sparse form.
    """
    for index, block in enumerate(backbone.blocks):
        layer = cast(MoEBlock, block).moe
        if layer.stand_in is None:
            raise UsageError(
                "the backbone has no sparse form to train",
                whose="the recovery",
                fix="make one with `moekit backbone carve` first",
                code="usage/no-sparse-form",
            )
        yield f"{index}.router_ED", layer.router.weight_ED
        for name in ("down_RD", "up_DR", "bias_D"):
            yield f"{index}.{name}", getattr(layer.stand_in, name)


def forget_merged(backbone: MoEBackbone) -> None:
    """Makes the stand-ins merge their maps again, after parameters were changed."""
    for block in backbone.blocks:
        stand_in = cast(MoEBlock, block).moe.stand_in
        if stand_in is not None:
            stand_in.forget()


def trained_form(backbone: MoEBackbone, form: SparseForm) -> SparseForm:
    """The form with the routers and corrections that the backbone now has."""
    values = {name: value.detach().float().cpu() for name, value in trained_parameters(backbone)}
    return form.with_blocks(
        [
            dataclasses.replace(
                block,
                **{
                    name: values[f"{index}.{name}"].clone()
                    for name in ("router_ED", "down_RD", "up_DR", "bias_D")
                },
            )
            for index, block in enumerate(form.blocks)
        ]
    )


def student_tokens(backbone: MoEBackbone, x_BND: Tensor, *, top_k: int) -> list[Tensor]:
    """Tokens after each block and, last, after the final norm, with gradients to the routers.

    Args:
        backbone: With a sparse form.
        x_BND: (B, N, D) tokens before the first block.
        top_k: Experts that a token has.
    """
    outputs = []
    for module in backbone.blocks:
        block = cast(MoEBlock, module)
        x_BND = block.attend(x_BND)
        x_BND = x_BND + block.ls2(_all_masked(block.moe, block.norm2(x_BND), top_k))
        outputs.append(x_BND)
    return [*outputs, backbone.stem.norm(x_BND)]


def _all_masked(layer: MoELayer, z_BND: Tensor, top_k: int) -> Tensor:
    """The layer's output with every expert computed and those not chosen multiplied by zero."""
    bank = layer.bank
    mask_BNE = _choice(layer.router(z_BND) + layer.router.bias_E, top_k)
    before_BNF = nn.functional.linear(z_BND, bank.w1_EHD.flatten(0, 1), bank.b1_EH.flatten())
    excess_BNF = bank.activation(before_BNF)
    if bank.slope_EH is not None and bank.offset_EH is not None:
        excess_BNF = beyond_stand_in(
            excess_BNF, before_BNF, bank.slope_EH.flatten(), bank.offset_EH.flatten()
        )
    wide_BNF = mask_BNE.to(excess_BNF.dtype).repeat_interleave(bank.hidden, dim=2)
    w2_DF = bank.w2_EHD.flatten(0, 1).T
    chosen_BND = nn.functional.linear(excess_BNF * wide_BNF, w2_DF, bank.b2_D)
    stand_in_BND: Tensor = cast(StandIn, layer.stand_in)(z_BND, top_k=top_k)
    return chosen_BND + stand_in_BND


def _choice(scores_BNE: Tensor, top_k: int) -> Tensor:
    """1 for the chosen experts and 0 for the others; the gradient is that of a sigmoid."""
    best = scores_BNE.topk(top_k + 1, dim=2)
    hard_BNE: Tensor = torch.zeros_like(scores_BNE).scatter(2, best.indices[..., :top_k], 1.0)
    border_BN1 = best.values[..., top_k - 1 :].mean(2, keepdim=True)
    width = _SOFTNESS * scores_BNE.detach().std(dim=2, keepdim=True).clamp_min(1e-6)
    soft_BNE = torch.sigmoid((scores_BNE - border_BN1) / width)
    chosen_BNE: Tensor = hard_BNE + soft_BNE - soft_BNE.detach()
    return chosen_BNE

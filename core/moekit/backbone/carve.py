"""Carving: a timm vision transformer becomes an MoE backbone without a change of its function.

Each FFN is cut into equal slices of its hidden neurons. The slices are a partition, so their sum is
the FFN (MoEfication, Zhang et al. 2022, arXiv:2110.01786).

Shapes: D width, F hidden neurons of the FFN, E experts, H = F / E.
"""

from __future__ import annotations

from typing import cast

import torch
from timm.layers import Mlp, PatchEmbed
from timm.models.vision_transformer import Block, VisionTransformer
from torch import nn

from moekit.backbone.model import MoEBackbone, Provenance
from moekit.backbone.sparse.form import BlockForm, SparseForm
from moekit.backbone.sparse.neurons import Neurons
from moekit.errors import UsageError, WeightsError
from moekit.moe.experts import ExpertBank
from moekit.moe.gates import Gate, UnitTopK
from moekit.moe.layer import MoELayer
from moekit.moe.router import Router
from moekit.moe.stand_in import StandIn

EXPERTS = 16


def carve(
    vit: VisionTransformer,
    *,
    provenance: Provenance,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    experts: int = EXPERTS,
    top_k: int | None = None,
    gate: Gate | None = None,
    form: SparseForm | None = None,
) -> MoEBackbone:
    """Turns a timm model into an MoE backbone. The model's modules are taken over, not copied.

    Args:
        vit: A timm `VisionTransformer` of standard blocks.
        provenance: Where its weights come from.
        mean: Per-channel mean of its normalisation.
        std: Per-channel standard deviation.
        experts: E, generic experts a block; must divide the FFN's hidden width.
        top_k: Experts a token has; all of them if None, which is exact.
        gate: Gate of the generic experts; `UnitTopK` if None. A gate whose weights are not 1 is
            no longer the dense model at `top_k = E`.
        form: How neurons are grouped and tokens routed; if None, neurons are grouped as they
            come, which is exact too but of little use below `top_k = E`.

    Raises:
        UsageError: The model is of another family, its FFN does not divide, or `top_k` is out of
            range.
    """
    if not isinstance(vit, VisionTransformer):
        raise _unsupported(type(vit).__name__, "it is not a timm VisionTransformer")
    if type(vit.patch_embed) is not PatchEmbed:
        raise _unsupported(
            f"a model with {type(vit.patch_embed).__name__}", "its tokens are not square patches"
        )
    layers = [_carve_block(block, experts, gate or UnitTopK()) for block in vit.blocks]
    if form is not None:
        layers = [
            shaped_layer(layer, block) for layer, block in zip(layers, form.blocks, strict=True)
        ]
    return MoEBackbone(
        vit=vit,
        layers=layers,
        provenance=provenance,
        mean=mean,
        std=std,
        top_k=experts if top_k is None else top_k,
    )


def shaped_layer(layer: MoELayer, form: BlockForm) -> MoELayer:
    """A layer whose neurons come in their first order, brought into a form.

    Raises:
        WeightsError: The form is one of another layer.
    """
    bank = layer.bank
    if len(form.order_F) != bank.experts * bank.hidden or len(form.choice_E) != bank.experts:
        raise WeightsError(
            "the sparse form was made for FFNs of another size or other experts",
            whose="the sparse form",
            fix="make one for this backbone with `moekit backbone carve`",
            code="weights/misfit",
        )
    neurons = Neurons.of(bank)
    form = form.to(neurons.w1_FD.device)
    order_F = form.order_F
    router = Router(neurons.w1_FD.shape[1], bank.experts)
    with torch.no_grad():
        router.weight_ED.copy_(form.router_ED)
        router.bias_E.copy_(form.choice_E)
    shape = (bank.experts, bank.hidden)
    base_DD, base_D = neurons.stand_in(form.slope_F, form.offset_F)
    return MoELayer(
        router=router,
        gate=layer.gate,
        bank=ExpertBank(
            w1_EHD=neurons.w1_FD[order_F].view(*shape, -1),
            b1_EH=neurons.b1_F[order_F].view(shape),
            w2_EHD=neurons.w2_FD[order_F].view(*shape, -1),
            b2_D=bank.b2_D.detach(),
            activation=bank.activation,
            slope_EH=form.slope_F[order_F].view(shape),
            offset_EH=form.offset_F[order_F].view(shape),
        ),
        stand_in=StandIn(
            base_DD=base_DD,
            base_D=base_D,
            down_RD=form.down_RD.clone(),
            up_DR=form.up_DR.clone(),
            bias_D=form.bias_D.clone(),
            strength_E=form.strength_E.clone(),
        ),
    )


def _carve_block(block: nn.Module, experts: int, gate: Gate) -> MoELayer:
    if type(block) is not Block:
        raise _unsupported(type(block).__name__, "its blocks are not the standard pre-norm block")
    mlp = cast(Mlp, block.mlp)
    if type(mlp) is not Mlp or not isinstance(mlp.norm, nn.Identity):
        raise _unsupported(type(mlp).__name__, "its FFN is not two linear layers")
    fc1, fc2 = cast(nn.Linear, mlp.fc1), cast(nn.Linear, mlp.fc2)
    bank = _carve_ffn(fc1, fc2, mlp.act, experts)
    router = Router(fc1.in_features, experts)
    with torch.no_grad():
        router.weight_ED.copy_(_slice_directions_ED(bank))
    return MoELayer(router=router, gate=gate, bank=bank)


def _carve_ffn(fc1: nn.Linear, fc2: nn.Linear, act: nn.Module, experts: int) -> ExpertBank:
    hidden, width = fc1.weight.shape
    if experts < 1 or hidden % experts:
        raise UsageError(
            f"{hidden} hidden neurons do not divide into {experts} equal experts",
            whose="experts",
            fix="choose a number of experts that divides the FFN's hidden width",
            code="usage/not-divisible",
        )
    slices = hidden // experts
    like = fc1.weight
    b1 = fc1.bias if fc1.bias is not None else like.new_zeros(hidden)
    b2 = fc2.bias if fc2.bias is not None else like.new_zeros(fc2.out_features)
    return ExpertBank(
        w1_EHD=fc1.weight.detach().reshape(experts, slices, width),
        b1_EH=b1.detach().reshape(experts, slices),
        w2_EHD=fc2.weight.detach().T.reshape(experts, slices, width).contiguous(),
        b2_D=b2.detach().clone(),
        activation=act,
    )


def _slice_directions_ED(bank: ExpertBank) -> torch.Tensor:
    """A router's first rows: each slice's input directions, weighted by what they can put out."""
    reach_EH: torch.Tensor = bank.w2_EHD.norm(dim=2)
    rows_ED: torch.Tensor = (reach_EH[..., None] * bank.w1_EHD).sum(1)
    return nn.functional.normalize(rows_ED, dim=1)


def _unsupported(name: str, why: str) -> UsageError:
    return UsageError(
        f"{name} cannot be carved: {why}",
        whose="the backbone's architecture",
        fix="choose a timm model of the VisionTransformer family, such as "
        "vit_small_patch14_dinov2 or vit_base_patch16_224",
        code="usage/unsupported-model",
    )

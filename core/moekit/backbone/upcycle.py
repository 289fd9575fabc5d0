"""Upcycling: each FFN becomes slices with replicas, more capacity at the same cost, to be trained.

Carving keeps the number of parameters and cuts the computation; upcycling keeps the computation and
multiplies the parameters. An FFN of F hidden neurons is cut into S slices, each slice gets E / S
replicas, and a token has one replica of each slice: Komatsuzaki et al. 2022 (arXiv:2212.05055) with
the finer experts and virtual groups of He et al. 2024 (arXiv:2410.07524). Before training the layer
computes what the FFN computed.

Shapes: D width, F hidden neurons of the FFN, S slices, E experts, H = F / S, G = E / S groups.
"""

from __future__ import annotations

import dataclasses
from typing import cast

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from moekit.backbone.block import MoEBlock
from moekit.backbone.build import open_dense
from moekit.backbone.carve import EXPERTS, carve
from moekit.backbone.model import MoEBackbone, Provenance
from moekit.backbone.sources import DEFAULT_ARCHITECTURE
from moekit.errors import UsageError
from moekit.moe.experts import ExpertBank
from moekit.moe.layer import MoELayer
from moekit.moe.router import Router
from moekit.moe.virtual_groups import VirtualGroupTopK

SLICES = 4
_ROUTER_STD = 0.02


def build_upcycled(
    architecture: str = DEFAULT_ARCHITECTURE,
    *,
    weights: str = "auto",
    experts: int = EXPERTS,
    slices: int = SLICES,
    noise: float = 0.0,
    seed: int = 0,
) -> MoEBackbone:
    """An upcycled backbone from pretrained weights; see `upcycle` and `moekit.build_backbone`.

    Raises:
        UsageError: The architecture is unknown, or its FFNs do not divide.
        WeightsError: No source has the weights, or they do not fit.
    """
    source = open_dense(architecture, weights)
    return upcycle(
        source.vit,
        provenance=source.provenance,
        mean=source.mean,
        std=source.std,
        experts=experts,
        slices=slices,
        noise=noise,
        seed=seed,
    )


def upcycle(
    vit: VisionTransformer,
    *,
    provenance: Provenance,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    experts: int = EXPERTS,
    slices: int = SLICES,
    noise: float = 0.0,
    seed: int = 0,
) -> MoEBackbone:
    """Turns a timm model into a backbone of slices and replicas. Its modules are taken over.

    Args:
        vit: A timm `VisionTransformer` of standard blocks.
        provenance: Where its weights come from; a note on the upcycling is added.
        mean: Per-channel mean of its normalisation.
        std: Per-channel standard deviation.
        experts: E, a multiple of `slices`.
        slices: S, into which an FFN is cut; must divide its hidden width. Also the experts that a
            token has.
        noise: Standard deviation of what is added to the replicas' weights, as a share of each
            matrix's own. At 0 the backbone equals the dense model to float rounding.
        seed: Of the routers' rows and of the noise.

    Returns:
        A backbone with `top_k = slices` whose parameters all require gradients. It stays in eval
        mode, as every backbone: it has no dropout to switch on. `Router.balance` keeps groups
        whole, so balancing does not end the exactness.

    Raises:
        UsageError: The model is of another family, or the numbers do not divide.
    """
    if slices < 1 or experts < slices or experts % slices:
        raise UsageError(
            f"{experts} experts are not a whole number of replicas of {slices} slices",
            whose="experts and slices",
            fix="choose a number of experts that is a multiple of the number of slices",
            code="usage/not-divisible",
        )
    if noise < 0:
        raise UsageError(
            f"the noise is {noise}",
            whose="noise",
            fix="choose 0 or more",
            code="usage/out-of-range",
        )
    remark = f"Upcycled into {slices} slices with {experts // slices} replicas each, noise {noise}."
    backbone = carve(
        vit,
        provenance=dataclasses.replace(provenance, note=f"{provenance.note} {remark}".strip()),
        mean=mean,
        std=std,
        experts=slices,
        gate=VirtualGroupTopK(slices),
    )
    numbers = torch.Generator().manual_seed(seed)
    for block in backbone.blocks:
        _replicate(cast(MoEBlock, block).moe, experts // slices, noise, numbers)
    return backbone.requires_grad_(True)


def _replicate(layer: MoELayer, groups: int, noise: float, numbers: torch.Generator) -> None:
    """Gives a carved layer its replicas, group after group, and a router of virtual groups."""
    bank, width = layer.bank, layer.router.weight_ED.shape[1]
    slices = bank.experts
    layer.bank = ExpertBank(
        w1_EHD=_copies(bank.w1_EHD, groups, noise, numbers),
        b1_EH=bank.b1_EH.detach().repeat(groups, 1),
        w2_EHD=_copies(bank.w2_EHD, groups, noise, numbers),
        b2_D=bank.b2_D.detach(),
        activation=bank.activation,
    )
    layer.router = Router(width, groups * slices)
    rows_GD = torch.randn(groups, width, generator=numbers, device="cpu") * _ROUTER_STD
    with torch.no_grad():
        layer.router.weight_ED.copy_(rows_GD.repeat_interleave(slices, dim=0))


def _copies(value_SHD: Tensor, groups: int, noise: float, numbers: torch.Generator) -> Tensor:
    """(G * S, H, D) the slices, G times over, each time with noise of its own."""
    copies_EHD = value_SHD.detach().repeat(groups, 1, 1)
    if not noise:
        return copies_EHD
    spread = noise * value_SHD.detach().std()
    random_EHD = torch.randn(copies_EHD.shape, generator=numbers, device="cpu").to(copies_EHD)
    return copies_EHD + spread * random_EHD

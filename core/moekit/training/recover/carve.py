"""Carving: the form of every block from the tokens of a few hundred pictures, in closed form."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import cast

import torch
from torch import Tensor

from moekit.backbone.block import MoEBlock
from moekit.backbone.model import MoEBackbone
from moekit.backbone.sparse.calibrate import ffn_inputs
from moekit.backbone.sparse.form import SparseForm
from moekit.backbone.sparse.methods import Method
from moekit.backbone.sparse.neurons import Neurons
from moekit.backbone.sparse.partition import carve_block

TOKENS_PER_IMAGE = 32


@torch.inference_mode()
def carve_form(
    dense: MoEBackbone,
    batches: Iterable[Tensor],
    *,
    method: Method,
    top_k: int,
    rank: int,
    progress: Callable[[int, int], None],
) -> SparseForm:
    """Groups neurons, fits stand-ins, routers and corrections of all blocks.

    Args:
        dense: The backbone without a form, at `top_k = E`.
        batches: (B, 3, H, W) normalised images.
        method: How.
        top_k: Experts that a token will have.
        rank: Rank of the correction.
        progress: Called with blocks done and their total.
    """
    samples = ffn_inputs(dense, batches, tokens_per_image=TOKENS_PER_IMAGE)
    blocks = []
    for index, (block, x_TD) in enumerate(zip(dense.blocks, samples, strict=True)):
        neurons = Neurons.of(cast(MoEBlock, block).moe.bank).cpu()
        blocks.append(
            carve_block(method, neurons, x_TD, experts=dense.experts, top_k=top_k, rank=rank)
        )
        progress(index + 1, len(dense.blocks))
    return SparseForm(
        blocks=tuple(blocks),
        architecture=dense.provenance.architecture,
        dense_sha256=dense.provenance.sha256,
        facts={"method": method.name, "method_source": method.source, "top_k": top_k, "rank": rank},
    )

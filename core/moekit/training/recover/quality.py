"""How near a sparse backbone's features are to the dense model's.

Shapes: B images, N tokens, D width.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from moekit.backbone.block import MoEBlock
from moekit.backbone.carve import shaped_layer
from moekit.backbone.model import MoEBackbone
from moekit.backbone.sparse.form import SparseForm
from moekit.moe.stats import RoutingTrace, dead_of, maxvio_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class Nearness:
    """Mean cosines with the dense features, over all tokens of all images.

    Attributes:
        patches: Of the final patch tokens.
        class_token: Of the final class token; None if the backbone has none.
        images: How many images.
    """

    patches: float
    class_token: float | None
    images: int

    def as_json(self) -> dict[str, float | int | None]:
        """The figures, rounded to what they are good for."""
        first = self.class_token
        return {
            "patches": round(self.patches, 5),
            "class_token": None if first is None else round(first, 5),
            "images": self.images,
        }


def shaped(dense: MoEBackbone, form: SparseForm) -> MoEBackbone:
    """A backbone in a sparse form. What the form does not change is shared with the dense one."""
    sparse = copy.copy(dense)
    sparse._modules = dict(dense._modules)
    blocks = []
    for module, block_form in zip(dense.blocks, form.blocks, strict=True):
        block = copy.copy(cast(MoEBlock, module))
        block._modules = dict(module._modules)
        device = block.moe.bank.w1_EHD.device
        block.moe = shaped_layer(block.moe, block_form).requires_grad_(False).to(device)
        blocks.append(block)
    sparse.blocks = nn.ModuleList(blocks)
    return sparse.eval()


@torch.inference_mode()
def health(backbone: MoEBackbone, batches: Iterable[Tensor], *, top_k: int) -> dict[str, Any]:
    """How evenly the generic experts are used.

    Args:
        backbone: Its own `top_k` is left as it is.
        batches: (B, 3, H, W) normalised images.
        top_k: Experts that a token has.

    Returns:
        `maxvio`: one figure a block (`BlockRouting.maxvio`); `dead`: for each block the experts
        that no token had; `top_k`.
    """
    device = next(backbone.parameters()).device
    counts: dict[int, Tensor] = {}
    for batch in batches:
        trace = RoutingTrace()
        with backbone.at_top_k(top_k):
            backbone(batch.to(device), trace=trace)
        for routed in trace.blocks:
            found_E = routed.counts_BE.sum(0).cpu()
            counts[routed.block] = counts.get(routed.block, torch.zeros_like(found_E)) + found_E
    blocks = [counts[block] for block in sorted(counts)]
    return {
        "top_k": top_k,
        "maxvio": [round(maxvio_of(counts_E), 3) for counts_E in blocks],
        "dead": [dead_of(counts_E) for counts_E in blocks],
    }


def nearness_of_form(
    dense: MoEBackbone, form: SparseForm, batches: Iterable[Tensor], *, top_k: Sequence[int]
) -> dict[int, Nearness]:
    """The nearness that a form gives to a dense backbone; see `nearness`."""
    return nearness(shaped(dense, form), batches, top_k=top_k)


@torch.inference_mode()
def nearness(
    backbone: MoEBackbone, batches: Iterable[Tensor], *, top_k: Sequence[int]
) -> dict[int, Nearness]:
    """Compares the features at some `top_k` with those at `top_k = E`, which are the dense ones.

    Args:
        backbone: Its own `top_k` is left as it is.
        batches: (B, 3, H, W) normalised images.
        top_k: The numbers of experts to look at.
    """
    device = next(backbone.parameters()).device
    prefix = backbone.prefix_tokens
    sums = {k: [0.0, 0.0] for k in top_k}
    images = 0
    for batch in batches:
        images += len(batch)
        with backbone.at_top_k(backbone.experts):
            dense_BND = backbone(batch.to(device)).final_BND.float()
        for k in top_k:
            with backbone.at_top_k(k):
                found_BND = backbone(batch.to(device)).final_BND.float()
            near_BN = nn.functional.cosine_similarity(found_BND, dense_BND, dim=2)
            sums[k][0] += float(near_BN[:, prefix:].mean(1).sum())
            sums[k][1] += float(near_BN[:, 0].sum())
    return {
        k: Nearness(
            patches=patches / images,
            class_token=first / images if prefix else None,
            images=images,
        )
        for k, (patches, first) in sums.items()
    }

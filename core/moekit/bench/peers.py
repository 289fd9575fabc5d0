"""What the MoE layer is measured against.

Shapes: T tokens, D width, E experts, H hidden neurons of one, K chosen.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
from collections.abc import Callable

import torch
from torch import Tensor, nn

from moekit.moe.experts import ExpertBank
from moekit.moe.gates import Gate, TopKSoftmax, UnitTopK
from moekit.moe.layer import MoELayer
from moekit.moe.router import Router

Forward = Callable[[Tensor], Tensor]
_BATCHED_MOST_BYTES = 2**26


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerSize:
    """The sizes of an MoE layer; the default is a block of ViT-S/14 cut into 16.

    Attributes:
        width: D.
        hidden: H, of one expert.
        experts: E.
        top_k: K.
    """

    width: int = 384
    hidden: int = 96
    experts: int = 16
    top_k: int = 4


def moe_layer(size: LayerSize, dtype: torch.dtype, gate: Gate) -> Forward:
    """The layer of moekit with random weights, without gradients."""
    generator = torch.Generator().manual_seed(0)

    def numbers(*shape: int) -> Tensor:
        drawn: Tensor = torch.randn(shape, generator=generator) / size.width**0.5
        return drawn

    bank = ExpertBank(
        w1_EHD=numbers(size.experts, size.hidden, size.width),
        b1_EH=numbers(size.experts, size.hidden),
        w2_EHD=numbers(size.experts, size.hidden, size.width),
        b2_D=numbers(size.width),
        activation=nn.GELU(),
    )
    router = Router(size.width, size.experts)
    nn.init.normal_(router.weight_ED, std=size.width**-0.5, generator=generator)
    layer = _frozen(MoELayer(router=router, gate=gate, bank=bank), dtype)

    def forward(x_BND: Tensor) -> Tensor:
        y_BND: Tensor = layer(x_BND, top_k=size.top_k)
        return y_BND

    return forward


def dense_ffn(width: int, hidden: int, dtype: torch.dtype) -> Forward:
    """A two-layer FFN with GELU: the limit (`hidden` = K H) or all experts (`hidden` = E H)."""
    return _frozen(
        nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width)), dtype
    )


class PlainLoop(nn.Module):
    """The MoE block as most public code has it: one-hot choices and a search for each expert."""

    def __init__(self, size: LayerSize) -> None:
        super().__init__()
        self.size = size
        self.router = nn.Linear(size.width, size.experts, bias=False)
        self.experts = nn.ModuleList(
            nn.Sequential(
                nn.Linear(size.width, size.hidden), nn.GELU(), nn.Linear(size.hidden, size.width)
            )
            for _ in range(size.experts)
        )

    def forward(self, x_BND: Tensor) -> Tensor:
        """(B, N, D) to (B, N, D)."""
        x_TD = x_BND.flatten(0, 1)
        scores_TE = self.router(x_TD).float().softmax(dim=1)
        weight_TK, expert_TK = scores_TE.topk(self.size.top_k, dim=1)
        weight_TK = (weight_TK / weight_TK.sum(dim=1, keepdim=True)).to(x_TD.dtype)
        mask_EKT = nn.functional.one_hot(expert_TK, self.size.experts).permute(2, 1, 0)
        y_TD = torch.zeros_like(x_TD)
        for expert, mask_KT in zip(self.experts, mask_EKT, strict=True):
            choice, token = torch.where(mask_KT)
            part = expert(x_TD[token]) * weight_TK[token, choice, None]
            y_TD.index_add_(0, token, part)
        return y_TD.view_as(x_BND)


def transformers_blocks(size: LayerSize, dtype: torch.dtype, tokens: int) -> dict[str, Forward]:
    """Mixtral's sparse block in each implementation that runs on a CPU; none if not installed.

    Its experts have a gate, three matrices instead of two, so they are given two thirds of the
    hidden neurons: the same arithmetic and the same number of weights.
    """
    if importlib.util.find_spec("transformers") is None:
        return {}
    configuration = importlib.import_module("transformers.models.mixtral.configuration_mixtral")
    modelling = importlib.import_module("transformers.models.mixtral.modeling_mixtral")
    hidden = max(2 * size.hidden // 3, 1)
    ways = ["eager"]
    if size.width * dtype.itemsize % 16 == 0 == hidden * dtype.itemsize % 16:  # it needs rows so
        ways.append("grouped_mm")
    copied = tokens * size.top_k * 2 * hidden * size.width * dtype.itemsize
    if copied <= _BATCHED_MOST_BYTES:  # it copies an expert's weights for each pair
        ways.append("batched_mm")
    blocks: dict[str, Forward] = {}
    for way in ways:
        config = configuration.MixtralConfig(
            hidden_size=size.width,
            intermediate_size=hidden,
            num_local_experts=size.experts,
            num_experts_per_tok=size.top_k,
            hidden_act="gelu",
        )
        config._experts_implementation = way
        block = modelling.MixtralSparseMoeBlock(config)
        for parameter in block.parameters():
            nn.init.normal_(parameter, std=size.width**-0.5)
        blocks[f"transformers {way}"] = _frozen(block, dtype)
    return blocks


def layer_candidates(size: LayerSize, dtype: torch.dtype, tokens: int) -> dict[str, Forward]:
    """All layers of one comparison; the first is the baseline."""
    return {
        "dense": dense_ffn(size.width, size.top_k * size.hidden, dtype),
        "moekit": moe_layer(size, dtype, UnitTopK()),
        "moekit weighted": moe_layer(size, dtype, TopKSoftmax()),
        "all experts": dense_ffn(size.width, size.experts * size.hidden, dtype),
        "plain loop": _frozen(PlainLoop(size), dtype),
        **transformers_blocks(size, dtype, tokens),
    }


def _frozen(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    return module.to(dtype).eval().requires_grad_(False)

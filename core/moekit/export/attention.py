"""timm's attention in the order of operations that runtimes know best.

timm computes queries, keys and values as one product and takes them apart by a transposition in
five dimensions, which OpenVINO carries out in memory. As three products, each with its own
transposition in four, all from the products to the result becomes one operation there.

Shapes: B images, N tokens, D width, A heads, d width of a head.
"""

from __future__ import annotations

import torch
from timm.layers.attention import Attention
from torch import Tensor, nn


def has_attention_form(module: nn.Module) -> bool:
    """Whether a module is attention that `AttentionForm` computes: plain, without gate or norm."""
    plain = getattr(module, "gate", None) is None
    return type(module) is Attention and plain and isinstance(module.norm, nn.Identity)


class AttentionForm(nn.Module):
    """What timm's `Attention` computes in eval mode, to rounding.

    The scale of the queries is part of their weights if no norm comes between.

    Args:
        attention: The module, in which `has_attention_form` holds.
    """

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        inside = isinstance(attention.q_norm, nn.Identity)
        within: float = attention.scale if inside else 1.0
        self.scale: float = 1.0 if inside else attention.scale
        self.heads = attention.num_heads
        self.weights = nn.ParameterList(_thirds(attention.qkv.weight, within))
        bias = attention.qkv.bias
        self.biases = None if bias is None else nn.ParameterList(_thirds(bias, within))
        self.q_norm, self.k_norm, self.proj = attention.q_norm, attention.k_norm, attention.proj

    def forward(self, x_BND: Tensor, added_B11N: Tensor | None = None) -> Tensor:
        """(B, N, D) to (B, N, D); what is added to the products says which keys are seen."""
        q_BANd, k_BANd, v_BANd = (self._part(x_BND, number) for number in range(3))
        q_BANd, k_BANd = self.q_norm(q_BANd), self.k_norm(k_BANd)
        if self.scale != 1.0:
            q_BANd = q_BANd * self.scale
        product_BANN = torch.matmul(q_BANd, k_BANd.transpose(-2, -1))
        if added_B11N is not None:
            product_BANN = product_BANN + added_B11N
        weight_BANN = product_BANN.softmax(dim=-1)
        mixed_BND = torch.matmul(weight_BANN, v_BANd).transpose(1, 2).flatten(2)
        output_BND: Tensor = self.proj(mixed_BND)
        return output_BND

    def _part(self, x_BND: Tensor, number: int) -> Tensor:
        """(B, A, N, d) the queries, the keys or the values."""
        bias = None if self.biases is None else self.biases[number]
        part_BND = nn.functional.linear(x_BND, self.weights[number], bias)
        images, tokens, width = part_BND.shape
        return part_BND.view(images, tokens, self.heads, width // self.heads).transpose(1, 2)


def _thirds(whole: Tensor, scale: float) -> list[nn.Parameter]:
    """The parts of queries, keys and values, the first one scaled."""
    queries, keys, values = whole.detach().chunk(3)
    return [nn.Parameter(part, requires_grad=False) for part in (queries * scale, keys, values)]

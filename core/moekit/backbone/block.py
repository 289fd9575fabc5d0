"""A block of the backbone: attention, and an MoE layer in the place of the FFN.

Shapes: B images (or frames), N tokens, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from moekit.moe.layer import MoELayer
from moekit.moe.specialists import Grid
from moekit.moe.stats import RoutingTrace

Specialists = Callable[..., Tensor]
"""A `SpecialistSet`, or what is called as one is."""


class BareBlock(NamedTuple):
    """What a block computes without specialists.

    Attributes:
        output_BND: (B, N, D) its output.
        normal_BND: (B, N, D) the normalised tokens that its experts read, and specialists too.
    """

    output_BND: Tensor
    normal_BND: Tensor


class MoEBlock(nn.Module):
    """A transformer block with an MoE layer as its FFN and a place for one kit's specialists.

    Args:
        block: The timm block; its attention, norms and layer scales are kept.
        moe: The layer that takes the FFN's place.
        index: Number of the block in the backbone.
    """

    def __init__(self, *, block: nn.Module, moe: MoELayer, index: int) -> None:
        super().__init__()
        self.norm1 = cast(nn.Module, block.norm1)
        self.attn = cast(nn.Module, block.attn)
        self.ls1 = cast(nn.Module, block.ls1)
        self.norm2 = cast(nn.Module, block.norm2)
        self.moe = moe
        self.ls2 = cast(nn.Module, block.ls2)
        self.index = index

    def forward(
        self,
        x_BND: Tensor,
        grid: Grid,
        *,
        top_k: int,
        specialists: Specialists | None = None,
        trace: RoutingTrace | None = None,
        seen_BN: Tensor | None = None,
    ) -> Tensor:
        """(B, N, D) to (B, N, D); attention sees the tokens of `seen_BN`, all if None."""
        bare = self.bare(x_BND, top_k=top_k, trace=trace, seen_BN=seen_BN)
        return bare.output_BND if specialists is None else self.add(bare, specialists, grid, trace)

    def bare(
        self,
        x_BND: Tensor,
        *,
        top_k: int,
        trace: RoutingTrace | None = None,
        seen_BN: Tensor | None = None,
    ) -> BareBlock:
        """The block without specialists: (B, N, D) tokens to its output and what experts read."""
        x_BND = self.attend(x_BND, seen_BN)
        z_BND = self.norm2(x_BND)
        y_BND: Tensor = x_BND + self.ls2(
            self.moe(z_BND, top_k=top_k, trace=trace, block=self.index)
        )
        return BareBlock(y_BND, z_BND)

    def add(
        self,
        bare: BareBlock,
        specialists: Specialists,
        grid: Grid,
        trace: RoutingTrace | None = None,
    ) -> Tensor:
        """(B, N, D) the output with specialists, of what the block computes without them."""
        branch_BND: Tensor = specialists(bare.normal_BND, grid, trace=trace, block=self.index)
        return bare.output_BND + branch_BND

    def attend(self, x_BND: Tensor, seen_BN: Tensor | None = None) -> Tensor:
        """The first half of the block: (B, N, D) to (B, N, D) after attention."""
        normal_BND = self.norm1(x_BND)
        if seen_BN is None:
            mixed_BND = self.attn(normal_BND)
        else:
            blank_BN = torch.zeros_like(seen_BN, dtype=x_BND.dtype)
            mixed_BND = self.attn(
                normal_BND, blank_BN.masked_fill(~seen_BN, -torch.inf)[:, None, None]
            )
        attended_BND: Tensor = x_BND + self.ls1(mixed_BND)
        return attended_BND

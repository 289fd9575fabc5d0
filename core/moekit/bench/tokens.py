"""The backbone with tokens that skip, next to the same backbone that computes all of them.

Shapes: B images, N tokens, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor

from moekit.backbone.features import Features
from moekit.backbone.model import MoEBackbone
from moekit.bench.peers import Forward
from moekit.moe.token_gates import TextureTokenGate
from moekit.moe.tokens import TokenRouting
from moekit.runtime.device import Arithmetic, autocast

KEEP, MERGE = "keep ", "merge "
"""How the names of candidates begin; the share of the patches that is computed one by one follows.
The others keep their value, or are merged by windows."""


def token_candidates(
    backbone: MoEBackbone,
    shares: Sequence[float],
    *,
    block: int,
    window: int,
    arithmetic: Arithmetic,
) -> dict[str, Forward]:
    """The backbone at each share of computed patches in both ways, and `dense`: all of them.

    The gate is `TextureTokenGate`; its time counts. Which tokens are kept makes no difference.

    Args:
        backbone: Its own `top_k` holds.
        shares: Of the patches that are computed.
        block: The first block that a token may skip.
        window: Side of the windows, in patches.
        arithmetic: fp32 or bf16.
    """

    def at(routing: TokenRouting | None) -> Forward:
        def forward(images: Tensor) -> Tensor:
            with autocast(images.device, arithmetic):
                return cast(Features, backbone(images, tokens=routing)).final_BND

        return forward

    gate = TextureTokenGate()
    routed = {
        f"{name}{share:g}": at(TokenRouting(gate=gate, block=block, share=share, window=window))
        for name, window in ((KEEP, None), (MERGE, window))
        for share in shares
    }
    return {"dense": at(None), **routed}

"""Heads of the task: a linear floor, and features of several depths fused and enlarged.

Shapes: B images, T frames of a stack (1 for images), N tokens of a frame, D width, L blocks that
the head reads, C classes, F width of the fused features, h and w rows and columns of the logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from moekit.contract.outputs import HeadSite, Outputs
from moekit.moe.specialists import Grid
from moekit.tasks.parts.fusion import (
    AttentionFusion,
    ConcatenationFusion,
    PlaceNorm,
    patch_map,
)
from moekit.tasks.parts.refine import Refine, Twice

Fusion = Literal["attention", "concatenation"]
LOGIT = "logit_BChw"


class LinearSegHead(nn.Module):
    """A linear layer on the normalised patches of the last block: what a frozen backbone gives.

    The protocol of DINOv2 (Oquab et al. 2023, arXiv:2304.07193, section 7.4): batch norm and a
    1 x 1 convolution. Logits lie on the patch grid.

    Args:
        site: Where the head sits; of its blocks the last is read.
    """

    def __init__(self, site: HeadSite) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(site.width)
        self.classify = nn.Conv2d(site.width, site.classes, 1)

    def forward(self, tokens: Sequence[Tensor], grid: Grid) -> Outputs:
        """L tensors (B * T, N, D) to `logit_BChw`, float32, with h w the patch grid."""
        with torch.autocast(tokens[0].device.type, enabled=False):
            return {LOGIT: self.classify(self.norm(patch_map(tokens[-1], grid)))}


class FusionSegHead(nn.Module):
    """Several blocks fused place by place, enlarged in steps of two, and classified.

    A kit passes `functools.partial(FusionSegHead, upsample=2)` and the like as its `build_head`.

    Args:
        site: Where the head sits.
        fusion: `attention` (`AttentionFusion`) or `concatenation` (`ConcatenationFusion`, with as
            many parameters).
        width: F, a multiple of `heads` and of `upsample`.
        upsample: 1, 2 or 4: rows and columns of logits that a patch gets.
        heads: Attention heads.
        scales: As of `AttentionFusion`.
        dropout: Share of the last features left out in training.

    Attributes:
        width: Of the last features.
    """

    def __init__(
        self,
        site: HeadSite,
        *,
        fusion: Fusion = "attention",
        width: int = 160,
        upsample: int = 4,
        heads: int = 4,
        scales: Sequence[int] = (1, 2, 4),
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if upsample not in (1, 2, 4) or width % upsample:
            raise ValueError(f"upsample is {upsample}; it is 1, 2 or 4 and divides the width")
        kind = AttentionFusion if fusion == "attention" else ConcatenationFusion
        self.fuse = kind(site.width, site.blocks, out=width, heads=heads, scales=scales)
        steps: list[nn.Module] = [Refine(width)]
        for _ in range(upsample.bit_length() - 1):
            steps += [Twice(width), Refine(width // 2)]
            width //= 2
        self.enlarge = nn.Sequential(*steps)
        self.width = width
        self.norm = PlaceNorm(width)
        self.dropout = nn.Dropout2d(dropout)
        self.classify = nn.Conv2d(width, site.classes, 1)

    def forward(self, tokens: Sequence[Tensor], grid: Grid) -> Outputs:
        """L tensors (B * T, N, D) to `logit_BChw`, float32, `upsample` times the patch grid."""
        return {LOGIT: self.seen(tokens, grid)[1]}

    def seen(self, tokens: Sequence[Tensor], grid: Grid) -> tuple[Tensor, Tensor]:
        """The last features, (B, F, h, w), and the logits of `forward`."""
        with torch.autocast(tokens[0].device.type, enabled=False):
            fused = self.fuse([patch_map(x_BND, grid) for x_BND in tokens])
            features = self.dropout(self.norm(self.enlarge(fused)))
            return features, self.classify(features)

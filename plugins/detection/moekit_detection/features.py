"""The map that a detection head looks at: finer than the patches of the backbone.

Shapes: B images, T frames of a stack (1 for images), L blocks that the head reads, N tokens of a
frame, D width of the backbone, F width of the map, h and w rows and columns of the patch grid, H
and W those of the map, twice as many, Y and X those of the picture.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from moekit import Grid, HeadSite
from moekit.tasks.parts import ConcatenationFusion, Twice, patch_map, seen_picture

_GROUPS = 8


def conv(given: int, made: int, *, stride: int = 1) -> nn.Sequential:
    """A 3 x 3 convolution, group norm and GELU."""
    return nn.Sequential(
        nn.Conv2d(given, made, 3, stride=stride, padding=1, bias=False),
        nn.GroupNorm(_GROUPS, made),
        nn.GELU(),
    )


class Residual(nn.Module):
    """A 3 x 3 convolution with norm and GELU, added to its input.

    Args:
        width: F.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.change = conv(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, F, H, W) to the same shape."""
        changed: Tensor = x + self.change(x)
        return changed


class FineMap(nn.Module):
    """Blocks of several depths fused and enlarged, with what a small stem sees in the pixels.

    A patch has 14 pixels, an object may have 10: tokens say what it is, the pixels where it ends.
    Lateral inputs from several depths are those of feature pyramids (Lin et al. 2017,
    arXiv:1612.03144), for frozen encoders as in ViTDet (Li et al. 2022, arXiv:2203.16527); the
    convolutional branch next to a plain transformer is that of ViT-Adapter (Chen et al. 2023,
    arXiv:2205.08534).

    Args:
        site: Width and blocks.
        width: F, a multiple of 8.
        stem: Channels of the stem, a multiple of 16; 0 for no stem.
    """

    def __init__(self, site: HeadSite, *, width: int = 96, stem: int = 32) -> None:
        super().__init__()
        # Attention over depths costs more than all the rest of the head together.
        self.fuse = ConcatenationFusion(site.width, site.blocks, out=width)
        self.twice = Twice(width)
        self.stem = _stem(stem) if stem else None
        self.join = conv(width // 2 + stem, width)
        self.refine = Residual(width)

    def forward(self, tokens: Sequence[Tensor], grid: Grid, picture: Tensor | None) -> Tensor:
        """L tensors (B * T, N, D) and the picture, (B, 3, Y, X), to (B, F, 2 h, 2 w).

        Of stacks, (B, T, 3, Y, X), the middle frame is looked at.
        """
        fine_BFHW: Tensor = self.twice(self.fuse([patch_map(one, grid) for one in tokens]))
        if self.stem is not None:
            seen = nn.functional.interpolate(
                self.stem(seen_picture(picture, grid)),
                size=(2 * grid.rows, 2 * grid.columns),
                mode="bilinear",
                align_corners=False,
            )
            fine_BFHW = torch.cat([fine_BFHW, seen], dim=1)
        refined: Tensor = self.refine(self.join(fine_BFHW))
        return refined


def _stem(width: int) -> nn.Sequential:
    """Three convolutions to a quarter of the picture's rows and columns."""
    return nn.Sequential(
        conv(3, width // 2, stride=2), conv(width // 2, width, stride=2), conv(width, width)
    )

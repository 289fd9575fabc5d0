"""What frozen features say of whole pictures: means of the patch tokens over a coarse grid.

Shapes: B pictures or stacks, T frames of a stack, N tokens of a frame, D width, C cells.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from moekit.data.near.codes import GRID
from moekit.moe.specialists import Grid


@torch.inference_mode()
def cells_of(x_BND: Tensor, grid: Grid) -> np.ndarray:
    """(B, C, D) float32 means over a grid of 4 x 4 cells, of stacks over all their frames.

    Args:
        x_BND: (B * T, N, D) tokens of a frozen block, the prefix tokens first.
        grid: Rows and columns of the patch tokens, and the frames of a stack.
    """
    patches = x_BND[:, -grid.rows * grid.columns :].float()
    maps = patches.transpose(1, 2).reshape(len(patches), -1, grid.rows, grid.columns)
    pooled = nn.functional.adaptive_avg_pool2d(maps, GRID).flatten(2).transpose(1, 2)
    mean = pooled.reshape(-1, grid.frames, *pooled.shape[1:]).mean(1)
    found: np.ndarray = mean.cpu().numpy()
    return found

"""Evidence along lines: scratches, cracks and the edges of uneven fields are longer than a patch.

Shapes: B images, P patches, h and w rows and columns of the patch grid.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moekit import Grid

LENGTH = 5
"""Patches of a line: 70 pixels of 448."""
_DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))


def along_lines(far_BP: Tensor, grid: Grid) -> Tensor:
    """(B, P) greatest mean along a line through each patch: a row, a column or a diagonal.

    A matched filter for lines of one length in four directions (Chaudhuri et al. 1989, IEEE Trans.
    Med. Imaging 8:263, who use twelve). At the border the image is mirrored; a grid with a side too
    short for that has its border repeated.

    Args:
        far_BP: (B, P) float32, at least 0.
        grid: Rows and columns of the patches.
    """
    reach, rows, columns = LENGTH // 2, grid.rows, grid.columns
    mode = "reflect" if min(rows, columns) > reach else "replicate"
    plane_B1hw = far_BP.view(-1, 1, rows, columns)
    padded = nn.functional.pad(plane_B1hw, (reach,) * 4, mode=mode)[:, 0]
    means = []
    for down, right in _DIRECTIONS:
        starts = [(reach + n * down, reach + n * right) for n in range(-reach, reach + 1)]
        shifted = [padded[:, y : y + rows, x : x + columns] for y, x in starts]
        means.append(torch.stack(shifted).mean(0))
    return torch.stack(means).amax(0).flatten(1)

"""The eight views of a square image that only flip and turn it: the dihedral group of order 8."""

from __future__ import annotations

import torch
from torch import Tensor

VIEWS = 8
# Flips and half turns come first: they keep the direction of lines, as a quarter turn does not.
_ORDER = (
    (0, False),
    (2, False),
    (0, True),
    (2, True),
    (1, False),
    (3, False),
    (1, True),
    (3, True),
)


def view(images: Tensor, number: int) -> Tensor:
    """One view of square images.

    Args:
        images: (..., H, W) with H = W.
        number: 0 (unchanged) to 7.

    Returns:
        The view, contiguous, of the same shape.
    """
    turns, mirrored = _ORDER[number]
    turned = torch.rot90(images, turns, dims=(-2, -1))
    return (turned.flip(-1) if mirrored else turned).contiguous()

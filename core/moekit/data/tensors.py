"""Images as tensors for the backbone."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def image_tensor(
    image: Image.Image,
    *,
    size: int,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> Tensor:
    """Resizes an RGB image to a square, whatever its shape, and normalises it.

    The resizing is Pillow's bicubic filter, which averages over the source when it shrinks.

    Args:
        image: RGB.
        size: Side of the result, in pixels.
        mean: Per-channel mean of the brightness, which lies in [0, 1].
        std: Per-channel standard deviation.

    Returns:
        (3, size, size) float32.
    """
    small = image.resize((size, size), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(small)).permute(2, 0, 1).float() / 255
    return (pixels - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]

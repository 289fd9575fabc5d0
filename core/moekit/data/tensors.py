"""Images as tensors for the backbone."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from moekit.data.geometry import Frame


def image_tensor(
    image: Image.Image,
    *,
    frame: Frame,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> Tensor:
    """Fits an RGB image of any shape to a frame, and normalises it.

    The resizing is Pillow's bicubic filter, which averages over the source when it shrinks. Border
    pixels have the mean colour, so they are 0.

    Args:
        image: RGB.
        frame: Size of the result, and how the image is fitted to it.
        mean: Per-channel mean of the brightness, which lies in [0, 1].
        std: Per-channel standard deviation.

    Returns:
        (3, frame.height, frame.width) float32.
    """
    box = frame.box((image.height, image.width))
    small = image.resize((box.width, box.height), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(small)).permute(2, 0, 1).float() / 255
    pixels = (pixels - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    if (box.height, box.width) == (frame.height, frame.width):
        return pixels
    placed = pixels.new_zeros(3, frame.height, frame.width)
    placed[:, box.top : box.top + box.height, box.left : box.left + box.width] = pixels
    return placed

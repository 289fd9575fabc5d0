"""Synthetic inputs: tokens, scores, images. Always the same ones.

Shapes: B images (or the frames of stacks), N tokens, D width, E experts.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from moekit.data.samples import Dataset, Sample
from moekit.moe.specialists import Grid
from moekit.plugins.manifest import Input

WIDTH = 32
GRID = Grid(4, 4)
STACK = Grid(4, 4, frames=3)
SPLITS = {"train": 16, "val": 8, "test": 8}
_DEFAULT = Input(name="image", kind="image", channels=3, unit="1", low=0.0, high=1.0)


def generator(seed: int = 0) -> torch.Generator:
    """A generator of random numbers of the checks' own."""
    return torch.Generator().manual_seed(seed)


def tokens(images: int, grid: Grid = GRID, *, width: int = WIDTH, seed: int = 0) -> Tensor:
    """(B, 1 + rows * columns, D) normalised tokens, one class token first.

    Of a grid of T frames `images` counts the stacks, and B is that many times T.
    """
    count = 1 + grid.patches
    return torch.randn(images * grid.frames, count, width, generator=generator(seed))


def awaken(module: nn.Module) -> nn.Module:
    """Gives every parameter small random values, so that nothing is hidden by zeros."""
    source = generator(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=source) * 0.1)
    return module


def write_images(folder: Path, given: Input | None, *, side: int) -> Dataset:
    """Writes labelled images over the whole declared range, and returns them split.

    Images of the positive class hold a bright square, which their masks mark. Eight-bit files hold
    the declared range linearly: 0 is `low`, 255 is `high`.

    Args:
        folder: An empty folder.
        given: The declared input; colour images in [0, 1] if None.
        side: Height and width, in pixels.
    """
    declared = given or _DEFAULT
    random = np.random.default_rng(0)
    samples = []
    for split, count in SPLITS.items():
        for number in range(count):
            label, mask = number % 2, None
            values = random.uniform(declared.low, declared.high, (side, side, declared.channels))
            if label:
                marked = np.zeros((side, side), dtype=bool)
                marked[side // 4 : side // 2, side // 4 : side // 2] = True
                values[marked] = declared.high
                mask = folder / f"{split}-{number:02}-mask.png"
                Image.fromarray(marked).save(mask)
            shares = (values - declared.low) / (declared.high - declared.low)
            pixels = np.round(shares * 255).astype(np.uint8).squeeze()
            path = folder / f"{split}-{number:02}.png"
            Image.fromarray(pixels).save(path)
            samples.append(Sample(id=path.name, path=path, label=label, split=split, mask=mask))
    return Dataset(name="synthetic", samples=tuple(samples), classes=("plain", "marked"))

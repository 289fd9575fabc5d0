"""A small split set and a small head of the task `score`, for conformance checks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from moekit.contract.outputs import HeadSite, Outputs
from moekit.data.samples import Dataset, Sample
from moekit.moe.specialists import Grid

_COUNTS = {"train": 16, "val": 8, "test": 8}
_SIDE = 56


class ScoreExampleHead(nn.Module):
    """A linear layer on the mean tokens of its blocks.

    Args:
        site: Where it sits.
    """

    def __init__(self, site: HeadSite) -> None:
        super().__init__()
        self.linear = nn.Linear(site.width * site.blocks, 1)
        self._frames = site.frames

    def forward(self, tokens: Sequence[Tensor], grid: Grid) -> Outputs:
        """One (B, N, D) tensor a block to (B,) log-odds."""
        pooled_BF = torch.cat([x_BND.float().mean(1) for x_BND in tokens], dim=1)
        if grid.frames > 1:
            pooled_BF = torch.unflatten(pooled_BF, 0, (-1, grid.frames)).mean(1)
        return {"logit_B": self.linear(pooled_BF)[:, 0]}


def write_example(folder: Path) -> Dataset:
    """Writes images of noise, every other one with a bright square that its mask marks."""
    generator = np.random.default_rng(0)
    samples = []
    for split, count in _COUNTS.items():
        for number in range(count):
            label, mask = number % 2, None
            pixels = generator.integers(0, 200, (_SIDE, _SIDE, 3), dtype=np.uint8)
            if label:
                marked = np.zeros((_SIDE, _SIDE), dtype=bool)
                marked[14:28, 14:28] = True
                pixels[marked] = 255
                mask = folder / f"{split}-{number:02}-mask.png"
                Image.fromarray(marked).save(mask)
            path = folder / f"{split}-{number:02}.png"
            Image.fromarray(pixels).save(path)
            samples.append(Sample(id=path.name, path=path, label=label, split=split, mask=mask))
    return Dataset(name="example", samples=tuple(samples), classes=("plain", "marked"))

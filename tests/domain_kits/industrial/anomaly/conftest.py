"""Features of made-up products, on which a memory can be checked quickly."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from moekit import Grid, HeadSite

WIDTH = 32
GRID = Grid(8, 8)
SITE = HeadSite(width=WIDTH, blocks=1)


@dataclasses.dataclass
class Made:
    """Features that lie in memory, as a source of `MemoryLearner`."""

    x_BPF: Tensor
    products: tuple[str, ...]
    views: int = 1
    grid: Grid = GRID

    def read(self, rows: np.ndarray, view: int) -> Tensor:
        return self.x_BPF[rows]

    def __add__(self, other: Made) -> Made:
        return Made(torch.cat([self.x_BPF, other.x_BPF]), self.products + other.products)


@pytest.fixture
def make() -> Callable[..., Made]:
    """Makes images of a product: patches around a few centres that the product decides."""

    def of(product: str, count: int, *, seed: int, noise: float = 0.1) -> Made:
        place = torch.Generator().manual_seed(sum(product.encode()))
        centres = torch.randn(6, WIDTH, generator=place)
        draw = torch.Generator().manual_seed(seed)
        which = torch.randint(6, (count, GRID.patches), generator=draw)
        x_BPF = centres[which] + noise * torch.randn(*which.shape, WIDTH, generator=draw)
        return Made(nn.functional.layer_norm(x_BPF, (WIDTH,)), (product,) * count)

    return of


@pytest.fixture
def tokens() -> Callable[[Tensor], list[Tensor]]:
    """Tokens whose patch features are the given ones, with a class token before them."""

    def of(x_BPF: Tensor) -> list[Tensor]:
        return [torch.cat([torch.zeros_like(x_BPF[:, :1]), x_BPF], dim=1)]

    return of

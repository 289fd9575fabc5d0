"""Where patch features are read from while a memory is filled.

Shapes: B images, P patches, F features.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from moekit import Grid, StoredPrefix
from moekit_industrial.anomaly.head import patch_features

BATCH = 8


class Patches(Protocol):
    """Normal images as their patch features.

    Attributes:
        products: (n) the product of each image.
        views: Views of each image.
        grid: Rows and columns of the patches.
    """

    products: tuple[str, ...]
    views: int
    grid: Grid

    def read(self, rows: np.ndarray, view: int) -> Tensor:
        """(B, P, F) float32 features of some images in one view, on the device of the memory."""
        ...


class StoredPatches:
    """Those of a stored prefix that ends with the last block that the head reads.

    Args:
        store: The prefix.
        device: Where the memory is filled.
    """

    def __init__(self, store: StoredPrefix, device: torch.device) -> None:
        self._store, self._device = store, device
        self.products = tuple(sample.facts.get("product", "") for sample in store.samples)
        self.views = store.views
        self.grid = store.grid

    def read(self, rows: np.ndarray, view: int) -> Tensor:
        """See `Patches`."""
        x_BND, kept = self._store.read(rows, np.full_like(rows, view))
        tokens = [*(kept[block] for block in sorted(kept)), x_BND]
        return patch_features([x_BND.to(self._device) for x_BND in tokens], self.grid)


def in_batches(patches: Patches, rows: np.ndarray, views: int = 1) -> Iterator[Tensor]:
    """Yields the features of some images, view by view."""
    for view in range(views):
        for start in range(0, len(rows), BATCH):
            yield patches.read(rows[start : start + BATCH], view)


def rows_by_product(patches: Patches) -> dict[str, np.ndarray]:
    """The rows of each product, products in the order of their names."""
    names = np.array(patches.products, dtype=object)
    return {name: np.flatnonzero(names == name) for name in sorted(set(patches.products))}

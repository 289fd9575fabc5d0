"""Codes of pictures: what frozen features say of them, short enough to compare all with all.

The features come from the blocks before any specialist, so that they cost no pass of their own.

Shapes: N pictures, V variants of each, C cells (4 x 4, row by row), D width of a cell, E width of
its code.
"""

from __future__ import annotations

import dataclasses

import numpy as np

GRID = 4
CELLS = GRID * GRID
_WIDTH = 32
_TURNS = 8
_LEAST = 1e-6
"""Directions that vary less than this share of the strongest one are left out."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Coder:
    """Turns cells into codes by what varies in a set.

    What all pictures of the set have in common is taken away cell by cell. What is left is
    projected on its strongest directions and whitened, so that each direction counts alike.

    Attributes:
        mean_CD: Mean of each cell.
        basis_DE: Directions, divided by the spread along them.
    """

    mean_CD: np.ndarray
    basis_DE: np.ndarray

    @classmethod
    def fit(cls, cells_NCD: np.ndarray) -> Coder:
        """The coder of a set.

        Args:
            cells_NCD: Of some pictures of it, two at least.
        """
        cells = cells_NCD.astype(np.float64)
        mean = cells.mean(0)
        rows = (cells - mean).reshape(-1, cells.shape[-1])
        spread, directions = np.linalg.eigh(rows.T @ rows / len(rows))
        spread, directions = spread[::-1][:_WIDTH], directions[:, ::-1][:, :_WIDTH]
        kept = spread > max(_LEAST * spread[0], np.finfo(np.float32).tiny)
        basis = directions[:, kept] / np.sqrt(spread[kept])
        return cls(mean_CD=mean.astype(np.float32), basis_DE=basis.astype(np.float32))

    def codes(self, cells_NCD: np.ndarray) -> np.ndarray:
        """(N, C * E) float16 codes of length 1; their products tell how alike pictures are."""
        found = unit((cells_NCD - self.mean_CD) @ self.basis_DE)
        return unit(found.reshape(len(found), -1)).astype(np.float16)


def unit(values: np.ndarray) -> np.ndarray:
    """The same directions, of length 1; zeros stay zeros."""
    length = np.linalg.norm(values, axis=-1, keepdims=True)
    scaled: np.ndarray = values / np.maximum(length, 1e-9)
    return scaled


def turned(codes: np.ndarray) -> np.ndarray:
    """(N, 8, C * E) codes of the pictures' turns and mirrors, as far as features turn with them."""
    grid = codes.reshape(len(codes), GRID, GRID, -1)
    variants = []
    for number in range(_TURNS):
        one = np.rot90(grid, number % 4, axes=(1, 2))
        one = one[:, :, ::-1] if number >= _TURNS // 2 else one
        variants.append(one.reshape(len(codes), -1))
    return np.stack(variants, axis=1)

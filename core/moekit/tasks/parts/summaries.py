"""Summaries of a block's tokens, and each patch's first-order part in them.

Shapes: B images or stacks, P patches of all frames, D width, K prefix tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from moekit.moe.specialists import Grid

SummaryName = Literal["class", "mean", "maximum", "deviation", "centre"]
_CENTRE = 8
"""The Gaussian of `centre` is one part in this many of a side wide (its standard deviation)."""


class View(NamedTuple):
    """A block's tokens, a stack as one.

    Attributes:
        first_BD: (B, D) the class token, averaged over frames.
        patches_BPD: (B, P, D) the patches, those of one frame after those of another.
        grid: Their grid.
    """

    first_BD: Tensor
    patches_BPD: Tensor
    grid: Grid

    @classmethod
    def of(cls, x_BND: Tensor, grid: Grid) -> View:
        """A view of (B * frames, K + patches, D) tokens, in float32."""
        x_BND = x_BND.float()
        first_BD, patches_BPD = x_BND[:, 0], x_BND[:, x_BND.shape[1] - grid.patches :]
        if grid.frames > 1:
            width = x_BND.shape[2]
            first_BD = first_BD.reshape(-1, grid.frames, width).mean(1)
            patches_BPD = patches_BPD.reshape(-1, grid.frames * grid.patches, width)
        return cls(first_BD, patches_BPD, grid)

    @property
    def offset_BPD(self) -> Tensor:
        """(B, P, D) what a patch differs by from the mean."""
        return self.patches_BPD - self.patches_BPD.mean(1, keepdim=True)


class Summary(NamedTuple):
    """One way to pool.

    Attributes:
        value: A view to (B, D).
        part: A view and the gradient (B, D) of some score with respect to the value to (B, P), each
            patch's first-order part in the score: how it would change if the patch were as the
            mean.
    """

    value: Callable[[View], Tensor]
    part: Callable[[View, Tensor], Tensor]


def _no_part(view: View, of_BD: Tensor) -> Tensor:
    return of_BD.new_zeros(view.patches_BPD.shape[:2])


def _part_of_mean(view: View, of_BD: Tensor) -> Tensor:
    return torch.einsum("bpd,bd->bp", view.offset_BPD, of_BD) / view.patches_BPD.shape[1]


def _part_of_maximum(view: View, of_BD: Tensor) -> Tensor:
    top = view.patches_BPD.max(1)
    share_BD = of_BD * (top.values - view.patches_BPD.mean(1))
    return _no_part(view, of_BD).scatter_add(1, top.indices, share_BD)


def _deviation(view: View) -> Tensor:
    return (view.patches_BPD.var(1, correction=0) + 1e-6).sqrt()


def _part_of_deviation(view: View, of_BD: Tensor) -> Tensor:
    of_BD = of_BD / _deviation(view) / view.patches_BPD.shape[1]
    return torch.einsum("bpd,bd->bp", view.offset_BPD.square(), of_BD)


def _centre_weights(view: View) -> Tensor:
    """(P,) weights that sum to 1, greatest in the middle of each frame."""
    down, across = (
        torch.exp(-(((torch.arange(side) - (side - 1) / 2) * _CENTRE / side) ** 2) / 2)
        for side in view.grid
    )
    weight_P = torch.outer(down, across).flatten().repeat(view.grid.frames)
    return (weight_P / weight_P.sum()).to(view.patches_BPD)


def _centre(view: View) -> Tensor:
    return torch.einsum("bpd,p->bd", view.patches_BPD, _centre_weights(view))


def _part_of_centre(view: View, of_BD: Tensor) -> Tensor:
    return torch.einsum("bpd,bd->bp", view.offset_BPD, of_BD) * _centre_weights(view)


SUMMARIES: dict[SummaryName, Summary] = {
    "class": Summary(lambda view: view.first_BD, _no_part),
    "mean": Summary(lambda view: view.patches_BPD.mean(1), _part_of_mean),
    "maximum": Summary(lambda view: view.patches_BPD.amax(1), _part_of_maximum),
    "deviation": Summary(_deviation, _part_of_deviation),
    "centre": Summary(_centre, _part_of_centre),
}

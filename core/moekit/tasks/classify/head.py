"""A head that distinguishes classes, from tokens of several depths.

Shapes: B images or stacks, T frames of a stack (1 for images), N tokens of a frame (prefix tokens
first, then the patch grid row by row), D width, L blocks that the head reads, S summaries of a
block, F = S * D * L pooled features, H hidden width, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from moekit.contract.outputs import HeadSite, Outputs
from moekit.moe.specialists import Grid
from moekit.tasks.parts.summaries import SUMMARIES, SummaryName, View

DEFAULT: tuple[SummaryName, ...] = ("class", "mean", "maximum")
"""What heads take of each block unless a kit says otherwise."""


def pool(tokens: Sequence[Tensor], grid: Grid, summaries: Sequence[SummaryName]) -> list[Tensor]:
    """The summaries of each block, (B, D) float32 each, the blocks one after the other.

    Args:
        tokens: One (B * T, N, D) tensor a block.
        grid: Rows and columns of the patches, and the frames of a stack.
        summaries: What is taken of each block.
    """
    views = [View.of(x_BND, grid) for x_BND in tokens]
    return [SUMMARIES[name].value(view) for view in views for name in summaries]


class ClassHead(nn.Module):
    """Log-odds of classes from pooled tokens, by a linear layer or one hidden layer.

    In eval mode it also says how unlike all classes an item is: the greatest logit, negated. A
    good classifier of known classes tells unknown ones by it (Vaze et al. 2022, arXiv:2110.06207).
    A kit passes `ClassHead` as its `build_head`, or a function that calls it with other summaries.

    Args:
        site: Width, blocks and classes.
        summaries: What is taken of each block: `class` (the class token), `mean`, `maximum` and
            `deviation` (standard) of the patches, `centre` (their mean around the middle).
        hidden: H; 0 for a linear layer.
        dropout: Share of the pooled and of the hidden features that is left out in training.
    """

    def __init__(
        self,
        site: HeadSite,
        *,
        summaries: Sequence[SummaryName] = DEFAULT,
        hidden: int = 0,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        self.summaries = tuple(summaries)
        pooled = len(self.summaries) * site.width * site.blocks
        self.norm = nn.BatchNorm1d(pooled, affine=False, momentum=0.05)
        self.dropout = nn.Dropout(dropout)
        self.hidden = nn.Linear(pooled, hidden) if hidden else None
        self.classes = nn.Linear(hidden or pooled, site.classes)
        nn.init.zeros_(self.classes.bias)

    def forward(self, tokens: Sequence[Tensor], grid: Grid) -> Outputs:
        """One (B * T, N, D) tensor a block to `logit_BC` and, in eval mode, `unlike_B`."""
        with torch.autocast(tokens[0].device.type, enabled=False):
            x_BF = self.dropout(self.norm(torch.cat(pool(tokens, grid, self.summaries), dim=1)))
            if self.hidden is not None:
                x_BF = self.dropout(nn.functional.gelu(self.hidden(x_BF)))
            logit_BC = self.classes(x_BF)
        if self.training:
            return {"logit_BC": logit_BC}
        return {"logit_BC": logit_BC, "unlike_B": -logit_BC.amax(1)}

"""What the backbone returns.

Shapes: B images (or frames), N tokens (prefix tokens first), D width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from torch import Tensor

from moekit.moe.specialists import Grid
from moekit.moe.stats import RoutingTrace
from moekit.moe.tokens import TokenChoice


@dataclasses.dataclass(frozen=True, kw_only=True)
class Features:
    """The features of a batch.

    Attributes:
        final_BND: (B, N, D) tokens after the last block and the final norm.
        blocks: For each block asked for, (B, N, D) its output before any norm.
        grid: Rows and columns of the patch tokens, and the frames of a stack.
        prefix_tokens: How many tokens before the patches (class and register tokens).
        frames: T of a clip or volume, whose frames lie one after the other in B; None for images.
        trace: The routing of each block, if it was asked for.
        tokens: Which tokens were computed; None if all were.
    """

    final_BND: Tensor
    blocks: Mapping[int, Tensor]
    grid: Grid
    prefix_tokens: int
    frames: int | None = None
    trace: RoutingTrace | None = None
    tokens: TokenChoice | None = None

    @property
    def patches_BND(self) -> Tensor:
        """(B, rows * columns, D) the final patch tokens."""
        return self.final_BND[:, self.prefix_tokens :]

    @property
    def pooled_BD(self) -> Tensor:
        """(B, D) the final class token, or the mean of the patches if there is none."""
        return self.final_BND[:, 0] if self.prefix_tokens else self.patches_BND.mean(1)

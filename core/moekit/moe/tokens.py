"""Token routing: from one block on a token is computed, or it skips and keeps its value.

The choice belongs to a pass over the backbone, not to a kit. Each image is decided by itself, and
images that keep equally many tokens run together, without padding. So the result for an image does
not depend on its neighbours in the batch. All tokens stay in the map: one that skips has the value
with which it reached the first block that it skips.

Skipping tokens is the routing of Mixture-of-Depths (Raposo et al. 2024, arXiv:2404.02258), decided
once, since a vision transformer sees the whole image before its first block.

Shapes: B images (or frames), N tokens (prefix tokens first), P patches, D width, R images of a
group, K tokens that each of them keeps.
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import torch
from torch import Tensor

from moekit.errors import PluginError, UsageError
from moekit.moe.owned import owned
from moekit.moe.routing import is_traced
from moekit.moe.specialists import Grid
from moekit.moe.token_gates import TokenGate

_STEPS = 16
"""If images keep different numbers of tokens, these are multiples of the grid's size by this."""


class TokenGroup(NamedTuple):
    """Images that keep equally many tokens.

    Attributes:
        row_R: (R,) their places in the batch, in order.
        token_RK: (R, K) the tokens that they keep, in order.
    """

    row_R: Tensor
    token_RK: Tensor

    def taken(self, x_BND: Tensor) -> Tensor:
        """(R, K, D) the kept tokens of these images."""
        return x_BND[self.row_R[:, None], self.token_RK]

    def put(self, x_BND: Tensor, y_RKD: Tensor) -> Tensor:
        """(B, N, D) a map with these tokens in place of its own, written in place."""
        x_BND[self.row_R[:, None], self.token_RK] = y_RKD.to(x_BND.dtype)
        return x_BND


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TokenChoice:
    """Which tokens of each image are computed.

    Attributes:
        groups: The images by how many tokens they keep, each in one group.
        kept_BN: (B, N) bool, the same as a map; prefix tokens are always kept.
    """

    groups: tuple[TokenGroup, ...]
    kept_BN: Tensor

    @property
    def share(self) -> float:
        """Share of the tokens that are computed, from 0 to 1."""
        return float(self.kept_BN.float().mean())


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenRouting:
    """How the tokens of a pass are routed.

    Attributes:
        gate: Scores them.
        block: The first block that a token may skip; 0 is the first of all.
        share: Greatest share of an image's patches that is computed, above 0, at most 1.
        threshold: Patches with a lower score skip too. None: each image keeps `share`.
        name: Of the gate, for errors and records; its class's if empty.

    Raises:
        UsageError: The share or the block is out of range.
    """

    gate: TokenGate
    block: int
    share: float
    threshold: float | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if not (0 < self.share <= 1 and self.block >= 0):
            raise UsageError(
                f"the share of tokens is {self.share} from block {self.block} on",
                whose="token routing",
                fix="choose a share above 0 and at most 1, and a block from 0 on",
                code="usage/out-of-range",
            )

    @property
    def keeps_all(self) -> bool:
        """Whether no token can skip."""
        return self.share == 1 and self.threshold is None

    def choose(self, x_BND: Tensor, grid: Grid, picture: Tensor) -> TokenChoice:
        """Chooses the tokens that are computed.

        With a threshold, an image keeps a multiple of a sixteenth of its patches, rounded up, so
        that few groups run. The frames of a stack keep equally many.

        Args:
            x_BND: The tokens before block `block`.
            grid: Of the patches, with the frames of a stack.
            picture: (B, 3, H, W) the normalised images or frames.

        Raises:
            PluginError: The gate fails, or gives something other than finite scores.
        """
        prefix = x_BND.shape[1] - grid.patches
        whose = f"token gate {self.name or type(self.gate).__name__}"
        scores_BP = owned(whose, lambda: self.gate(x_BND[:, prefix:], grid, picture=picture))
        _check(scores_BP, (len(x_BND), grid.patches), whose)
        order_BP = scores_BP.argsort(dim=1, descending=True, stable=True)
        first_BF = torch.arange(prefix, device=x_BND.device).expand(len(x_BND), prefix)

        def group(row_R: Tensor, count: int) -> TokenGroup:
            chosen_RK = order_BP[row_R, :count].sort(dim=1).values + prefix
            return TokenGroup(row_R, torch.cat([first_BF[row_R], chosen_RK], dim=1))

        groups = tuple(group(*one) for one in self._counts(scores_BP, grid.frames))
        kept_BN = x_BND.new_zeros(x_BND.shape[:2], dtype=torch.bool)
        for one in groups:
            kept_BN[one.row_R[:, None], one.token_RK] = True
        return TokenChoice(groups=groups, kept_BN=kept_BN)

    def _counts(self, scores_BP: Tensor, frames: int) -> list[tuple[Tensor, int]]:
        """Images by the number of patches that they keep."""
        patches = scores_BP.shape[1]
        most = math.ceil(self.share * patches)
        if self.threshold is None:
            return [(torch.arange(len(scores_BP), device=scores_BP.device), most)]
        step = max(1, math.ceil(patches / _STEPS))
        count_B = (scores_BP >= self.threshold).sum(1)
        count_B = count_B.view(-1, frames).amax(1).repeat_interleave(frames)
        count_B = ((count_B + step - 1) // step * step).clamp(max=most)
        counts = sorted(set(count_B.tolist()))
        return [((count_B == count).nonzero()[:, 0], count) for count in counts]


def _check(scores_BP: object, shape: tuple[int, int], whose: str) -> None:
    if isinstance(scores_BP, Tensor) and scores_BP.shape == shape:
        if is_traced() or bool(scores_BP.isfinite().all()):
            return
        said = "scores that are not finite"
    else:
        got = tuple(scores_BP.shape) if isinstance(scores_BP, Tensor) else type(scores_BP).__name__
        said = f"{got} in place of one score a patch, {shape}"
    raise PluginError(
        f"{whose} gave {said}",
        whose=whose,
        fix="report it to its authors: a token gate gives one finite score a patch",
        code="plugin/bad-gate",
    )

"""Token routing: from one block on a token is computed, or not.

The choice belongs to a pass over the backbone, not to a kit. Each image is decided by itself, and
images that keep equally many tokens run together, without padding. So the result for an image does
not depend on its neighbours in the batch.

All tokens stay in the map. One that is not computed keeps the value with which it reached the
block. That is the routing of Mixture-of-Depths (Raposo et al. 2024, arXiv:2404.02258), decided once
since a vision transformer sees the whole image before its first block. Or the mean of its window is
computed with the others, and the token changes by as much as the mean: a picture of mixed
resolution (Ronen et al. 2023, arXiv:2304.00287), made after the first blocks. So the others still
see what is there.

Shapes: B images (or frames), N tokens (prefix tokens first), P patches, U windows (or patches), D
width. Of a group: R images, K tokens that each keeps, S others, M windows, C = K + M.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from moekit.errors import PluginError, UsageError
from moekit.moe.owned import owned
from moekit.moe.routing import is_traced
from moekit.moe.specialists import Grid
from moekit.moe.token_gates import NamedTokenGate, TokenGate

_STEPS = 32
"""If images keep different numbers of tokens, these are multiples of the grid's size by this."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TokenGroup:
    """Images that keep equally many tokens.

    Attributes:
        row_R: (R,) their places in the batch, in order.
        token_RK: (R, K) the tokens that are computed one by one, in order.
        other_RS: (R, S) the other tokens, in order.
        window_RS: (R, S) the window of each of these, 0 to M - 1; None if they keep their value.
        windows: M, the windows that are computed as one token each.
    """

    row_R: Tensor
    token_RK: Tensor
    other_RS: Tensor
    window_RS: Tensor | None = None
    windows: int = 0

    def taken(self, x_BND: Tensor) -> Tensor:
        """(R, K + M, D) what is computed for these images: tokens, then means of windows."""
        return self.collected(x_BND[self.row_R])

    def put(self, x_BND: Tensor, before_RCD: Tensor, after_RCD: Tensor) -> None:
        """Writes what was computed into the map, in place.

        A token of a window changes by as much as its window's mean does.

        Args:
            x_BND: The map with the values before.
            before_RCD: As of `taken`.
            after_RCD: (R, K + M, D) what came of it.
        """
        kept = self.token_RK.shape[1]
        row_R1 = self.row_R[:, None]
        x_BND[row_R1, self.token_RK] = after_RCD[:, :kept].to(x_BND.dtype)
        if self.window_RS is not None:
            change_RMD = (after_RCD - before_RCD)[:, kept:]
            change_RSD = change_RMD.gather(1, _along(self.window_RS, change_RMD))
            x_BND[row_R1, self.other_RS] += change_RSD.to(x_BND.dtype)

    def spread(self, y_RCD: Tensor, held_RND: Tensor) -> Tensor:
        """(R, N, D) a whole map: of a window each token has its value, others the held one.

        Args:
            y_RCD: (R, K + M, D) values of what is computed.
            held_RND: (R, N, D) values of tokens that skip.
        """
        kept = self.token_RK.shape[1]
        whole_RND = held_RND.scatter(1, _along(self.token_RK, y_RCD), y_RCD[:, :kept])
        if self.window_RS is None:
            return whole_RND
        own_RSD = y_RCD[:, kept:].gather(1, _along(self.window_RS, y_RCD))
        return whole_RND.scatter(1, _along(self.other_RS, y_RCD), own_RSD)

    def collected(self, whole_RND: Tensor) -> Tensor:
        """(R, K + M, D) of whole maps of these images, as `taken` does of the batch's."""
        kept_RKD = whole_RND.gather(1, _along(self.token_RK, whole_RND))
        if self.window_RS is None:
            return kept_RKD
        rows, width = len(whole_RND), whole_RND.shape[2]
        other_RSD = whole_RND.gather(1, _along(self.other_RS, whole_RND))
        mean_RMD = whole_RND.new_zeros(rows, self.windows, width).scatter_reduce(
            1, _along(self.window_RS, whole_RND), other_RSD, "mean", include_self=False
        )
        return torch.cat([kept_RKD, mean_RMD], dim=1)

    @property
    def place_RC(self) -> Tensor:
        """(R, K + M) a token for each that is computed; of a window its first."""
        if self.window_RS is None:
            return self.token_RK
        first_RM = torch.full(
            (len(self.row_R), self.windows), torch.iinfo(torch.int64).max, device=self.row_R.device
        ).scatter_reduce(1, self.window_RS, self.other_RS, "amin")
        return torch.cat([self.token_RK, first_RM], dim=1)


def _along(place_RS: Tensor, like_RND: Tensor) -> Tensor:
    """(R, S, D) places for gather and scatter along the tokens."""
    return place_RS[..., None].expand(-1, -1, like_RND.shape[2])


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TokenChoice:
    """Which tokens of each image are computed.

    Attributes:
        groups: The images by how many tokens they keep, each in one group.
        kept_BN: (B, N) bool: the tokens that are computed one by one; prefix tokens always are.
    """

    groups: tuple[TokenGroup, ...]
    kept_BN: Tensor

    @property
    def share(self) -> float:
        """How many tokens are computed, windows included, as a share of all; from 0 to 1."""
        computed = sum(
            len(one.row_R) * (one.token_RK.shape[1] + one.windows) for one in self.groups
        )
        return computed / max(1, self.kept_BN.numel())


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenRouting:
    """How the tokens of a pass are routed.

    Attributes:
        gate: Scores them.
        block: The first block that a token may skip; 0 is the first of all.
        share: Greatest share of an image's patches that is computed one by one, above 0, at most 1.
        threshold: Patches with a lower score skip too; if it is not given, the least score of the
            gate if it has one. None: each image keeps `share`.
        window: Side, in patches, of the windows that are computed as one token each if they are
            not kept: all of a window is kept, or none. None: the others keep their value.
        until: The block from which on all tokens are computed again; None for none.

    Raises:
        UsageError: The share or the block is out of range.
    """

    gate: TokenGate
    block: int
    share: float
    threshold: float | None = None
    window: int | None = None
    until: int | None = None

    def __post_init__(self) -> None:
        if self.threshold is None and isinstance(self.gate, NamedTokenGate):
            object.__setattr__(self, "threshold", self.gate.least_score)
        good = self.window is None or self.window > 1
        good = good and (self.until is None or self.until > self.block)
        if not (good and 0 < self.share <= 1 and self.block >= 0):
            raise UsageError(
                f"the share of tokens is {self.share} from block {self.block} to {self.until}, the "
                f"window {self.window}",
                whose="token routing",
                fix="choose a share above 0 and at most 1, blocks from 0 on in their order, and a "
                "window of 2 patches or more or none",
                code="usage/out-of-range",
            )

    @property
    def keeps_all(self) -> bool:
        """Whether no token can skip."""
        return self.share == 1 and not self.goes_by_score

    @property
    def goes_by_score(self) -> bool:
        """Whether images compute different numbers of tokens, those with high scores."""
        return self.threshold is not None

    def is_even(self, grid: Grid) -> bool:
        """Whether all images compute equally many tokens: by share only, of whole windows."""
        side = self.window or 1
        return not self.goes_by_score and not (grid.rows % side or grid.columns % side)

    def computed(self, patches: int) -> int:
        """About how many tokens are computed at most for a number of patches, windows included."""
        kept = math.ceil(self.share * patches)
        if self.window is None:
            return kept
        return min(patches, kept + math.ceil((patches - kept) / self.window**2))

    def as_json(self) -> dict[str, Any]:
        """Ready for JSON; the gate by its name, version and the hash of what it has learned."""
        facts = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        known = self.gate if isinstance(self.gate, NamedTokenGate) else None
        return {
            **facts,
            "gate": self.gate_name,
            "gate_version": known and known.version,
            "gate_sha256": known and known.sha256,
        }

    @property
    def gate_name(self) -> str:
        """Of a registered gate its full name, of another that of its class."""
        gate = self.gate
        return gate.name if isinstance(gate, NamedTokenGate) else type(gate).__name__

    def choose(self, x_BND: Tensor, grid: Grid, picture: Tensor) -> TokenChoice:
        """Chooses the tokens that are computed.

        With a threshold, an image keeps a multiple of 1/32 of its patches (or windows),
        rounded up, so that few groups run. The frames of a stack keep equally many; a window has
        the highest score of its patches.

        Args:
            x_BND: The tokens before block `block`.
            grid: Of the patches, with the frames of a stack.
            picture: (B, 3, H, W) the normalised images or frames.

        Raises:
            PluginError: The gate fails, or gives something other than finite scores.
        """
        prefix = x_BND.shape[1] - grid.patches
        whose = f"token gate {self.gate_name}"
        scores_BP = owned(whose, lambda: self.gate(x_BND[:, prefix:], grid, picture=picture))
        _check(scores_BP, (len(x_BND), grid.patches), whose)
        unit_P, units = _units(grid, self.window, scores_BP.device)
        score_BU = scores_BP
        if self.window is not None:
            score_BU = scores_BP.new_zeros(len(scores_BP), units).scatter_reduce(
                1, unit_P.expand_as(scores_BP), scores_BP, "amax", include_self=False
            )
        count_B = self.counts(score_BU, grid.frames)
        rank_BU = score_BU.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        kept_BU = rank_BU < count_B[:, None]
        kept_BN = functional.pad(kept_BU[:, unit_P], (prefix, 0), value=True)
        # Windows at the border of a grid may be smaller, so images of one count of windows may
        # keep different numbers of patches.
        sizes = torch.stack([kept_BN.sum(1), count_B], dim=1)
        found = sorted(set(map(tuple, sizes.tolist())))
        groups = [
            self._group((sizes == sizes.new_tensor(size)).all(1), kept_BN, kept_BU, unit_P)
            for size in found
        ]
        return TokenChoice(groups=tuple(groups), kept_BN=kept_BN)

    def _group(
        self, is_in_B: Tensor, kept_BN: Tensor, kept_BU: Tensor, unit_P: Tensor
    ) -> TokenGroup:
        row_R = is_in_B.nonzero()[:, 0]
        kept_RN, kept_RU = kept_BN[row_R], kept_BU[row_R]
        token_RK = kept_RN.nonzero()[:, 1].view(len(row_R), -1)
        other_RS = (~kept_RN).nonzero()[:, 1].view(len(row_R), -1)
        if self.window is None:
            return TokenGroup(row_R=row_R, token_RK=token_RK, other_RS=other_RS)
        number_RU = (~kept_RU).cumsum(1) - 1  # of the windows that are not kept
        prefix = kept_RN.shape[1] - len(unit_P)
        window_RS = number_RU.gather(1, unit_P[other_RS - prefix])
        windows = int((~kept_RU[0]).sum())
        return TokenGroup(
            row_R=row_R, token_RK=token_RK, other_RS=other_RS, window_RS=window_RS, windows=windows
        )

    def counts(self, score_BU: Tensor, frames: int) -> Tensor:
        """(B,) how many patches, or windows of them, each image keeps."""
        units = score_BU.shape[1]
        most = math.ceil(self.share * units)
        if self.threshold is None:
            return torch.full((len(score_BU),), most, device=score_BU.device)
        step = max(1, math.ceil(units / _STEPS))
        count_B = (score_BU >= self.threshold).sum(1)
        count_B = count_B.view(-1, frames).amax(1).repeat_interleave(frames)
        return ((count_B + step - 1) // step * step).clamp(max=most)


def _units(grid: Grid, window: int | None, device: torch.device) -> tuple[Tensor, int]:
    """(P,) the window of each patch, or its own number; and how many there are."""
    side = window or 1
    across = math.ceil(grid.columns / side)
    row_R1 = torch.arange(grid.rows, device=device)[:, None] // side
    column_C = torch.arange(grid.columns, device=device) // side
    return (row_R1 * across + column_C).flatten(), across * math.ceil(grid.rows / side)


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

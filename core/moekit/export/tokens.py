"""A routing of tokens as a graph can hold it.

What is computed is gathered to the front, and the whole map is put back in order behind the routed
blocks. If each image computes equally many tokens, all shapes depend on the number of images only.
If scores decide how many, images that compute fewer are filled up to the most of the batch by
tokens that attention does not see.

Shapes: B images (or frames), N tokens, P patches, U windows, W patches of a window, D width, M
windows that are merged, K the most patches that an image of the batch computes, C = K and the
tokens that are no patches.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any, cast

import torch
from torch import Tensor, nn

from moekit.backbone.model import MoEBackbone, frames_of
from moekit.errors import UsageError
from moekit.export.forms import in_export_form
from moekit.moe.specialists import Grid
from moekit.moe.token_gates import NamedTokenGate, TokenGate
from moekit.moe.tokens import TokenRouting


def routed_blocks(routing: TokenRouting, grid: Grid, prefix: int) -> nn.Module:
    """The form of a routing: `RoutedBlocks`, or `ScoredBlocks` of one that goes by score.

    Raises:
        UsageError: As of `RoutedBlocks`.
    """
    if routing.goes_by_score and routing.window is None:
        return ScoredBlocks(routing, prefix)
    return RoutedBlocks(routing, grid, prefix)


class RoutedBlocks(nn.Module):
    """The blocks before a kit's own, with tokens routed; what `run_routed` computes, to rounding.

    Args:
        routing: Its gate is taken in its export form if it is a module.
        grid: Of the patches.
        prefix: Tokens that are no patches.

    Raises:
        UsageError: Images compute different numbers of tokens.
    """

    def __init__(self, routing: TokenRouting, grid: Grid, prefix: int) -> None:
        super().__init__()
        side = routing.window or 1
        if not routing.is_even(grid):
            raise UsageError(
                f"images of {grid.rows} x {grid.columns} patches compute different numbers of "
                "tokens, which no graph holds",
                whose="token routing",
                fix="answer in torch, or adapt with an input whose sides are multiples of the "
                "windows' (of 28 pixels, for patches of 14 and windows of 2 x 2)",
                code="usage/option-conflict",
            )
        self.gate = _gate_of(routing)
        self.block, self.until, self.merges = routing.block, routing.until, side > 1
        number_RC = torch.arange(grid.rows * grid.columns).view(grid.rows, grid.columns)
        patch_UW = number_RC.unfold(0, side, side).unfold(1, side, side).flatten(2).flatten(0, 1)
        self.register_buffer("patch_UW", patch_UW, persistent=False)
        self.kept = math.ceil(routing.share * len(patch_UW)) * side**2 + prefix
        self.prefix = prefix

    def forward(
        self,
        backbone: MoEBackbone,
        x_BND: Tensor,
        grid: Grid,
        images: Tensor,
        *,
        keep: Collection[int],
        top_k: int,
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """Runs the blocks from the first one on.

        Args:
            backbone: In its export form.
            x_BND: Tokens before the first block.
            grid: Of the patches.
            images: What they were made of.
            keep: Blocks whose output is wanted too.
            top_k: Generic experts a token has.

        Returns:
            The tokens behind the routed blocks, and the outputs of the blocks in `keep`.
        """
        x_BND, kept = backbone.run_blocks(x_BND, grid, stop=self.block, keep=keep, top_k=top_k)
        place_BN = self._places(x_BND, grid, frames_of(images))
        moved_BND = _taken(x_BND, place_BN)
        before_BCD = moved_BND[:, : self.kept]
        windows = torch.unflatten(moved_BND[:, self.kept :], 1, (-1, self._patch_UW.shape[1]))
        if self.merges:
            before_BCD = torch.cat([before_BCD, windows.mean(2)], dim=1)
        after_BCD, found = backbone.run_blocks(
            before_BCD, grid, start=self.block, stop=self.until, keep=keep, top_k=top_k
        )
        back_BN = place_BN.topk(place_BN.shape[1], dim=1, largest=False).indices

        def whole(value_BCD: Tensor) -> Tensor:
            others = windows
            if self.merges:
                change_BMD = value_BCD[:, self.kept :] - before_BCD[:, self.kept :]
                others = windows + change_BMD[:, :, None]
            joined_BND = torch.cat([value_BCD[:, : self.kept], others.flatten(1, 2)], dim=1)
            return _taken(joined_BND, back_BN)

        return whole(after_BCD), {**kept, **{block: whole(one) for block, one in found.items()}}

    @property
    def _patch_UW(self) -> Tensor:
        return cast(Tensor, self.patch_UW)

    def _places(self, x_BND: Tensor, grid: Grid, picture: Tensor) -> Tensor:
        """(B, N) all tokens: those that are no patches, then patches by the rank of windows."""
        score_BP = self.gate(x_BND[:, self.prefix :], grid, picture=picture)
        score_BU = score_BP[:, self._patch_UW].amax(2)
        patch_BP = self._patch_UW[_ordered(score_BU)].flatten(1) + self.prefix
        first_BF = torch.arange(self.prefix, device=patch_BP.device).expand(patch_BP.shape[0], -1)
        return torch.cat([first_BF, patch_BP], dim=1)


class ScoredBlocks(nn.Module):
    """As `RoutedBlocks`, of a routing without windows that goes by score.

    Args:
        routing: Its gate is taken in its export form if it is a module.
        prefix: Tokens that are no patches.
    """

    def __init__(self, routing: TokenRouting, prefix: int) -> None:
        super().__init__()
        self.gate, self.prefix, self._routing = _gate_of(routing), prefix, routing

    def forward(
        self,
        backbone: MoEBackbone,
        x_BND: Tensor,
        grid: Grid,
        images: Tensor,
        *,
        keep: Collection[int],
        top_k: int,
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """See `RoutedBlocks.forward`."""
        routing = self._routing
        how: dict[str, Any] = {"keep": keep, "top_k": top_k}
        x_BND, kept = backbone.run_blocks(x_BND, grid, stop=routing.block, **how)
        score_BP = self.gate(x_BND[:, self.prefix :], grid, picture=frames_of(images))
        count_B = routing.counts(score_BP, grid.frames)
        # A graph takes a number of patches that depends on data from `nonzero`.
        number_P = torch.arange(score_BP.shape[1], device=score_BP.device)
        number_K = torch.nonzero(number_P < count_B.amax(0))[:, 0]
        patch_BK = _ordered(score_BP)[:, number_K] + self.prefix
        first_BF = torch.arange(self.prefix, device=patch_BK.device).expand(patch_BK.shape[0], -1)
        place_BC = torch.cat([first_BF, patch_BK], dim=1)
        own_BC = torch.cat([first_BF >= 0, number_K < count_B[:, None]], dim=1)
        before_BCD = _taken(x_BND, place_BC)
        after_BCD, found = backbone.run_blocks(
            before_BCD, grid, start=routing.block, stop=routing.until, seen_BN=own_BC, **how
        )

        def whole(value_BCD: Tensor) -> Tensor:
            put_BCD = torch.where(own_BC[:, :, None], value_BCD, before_BCD)
            return x_BND.scatter(1, place_BC[:, :, None].expand_as(put_BCD), put_BCD)

        return whole(after_BCD), {**kept, **{block: whole(one) for block, one in found.items()}}


def _gate_of(routing: TokenRouting) -> TokenGate:
    gate = routing.gate.gate if isinstance(routing.gate, NamedTokenGate) else routing.gate
    return cast(TokenGate, in_export_form(gate)) if isinstance(gate, nn.Module) else gate


def _ordered(score_BU: Tensor) -> Tensor:
    """(B, U) the highest score first, and of equal ones the first.

    Runtimes differ in how they sort equal numbers, such as those of an empty background, so places
    are counted.
    """
    number_U = torch.arange(score_BU.shape[1], device=score_BU.device)
    own_BU1, other_B1U = score_BU[:, :, None], score_BU[:, None]
    before_BUU = (other_B1U > own_BU1) | (
        (other_B1U == own_BU1) & (number_U[None, :] < number_U[:, None])
    )
    place_BU = before_BUU.sum(2)
    return place_BU.topk(place_BU.shape[1], dim=1, largest=False).indices


def _taken(x_BND: Tensor, place_BN: Tensor) -> Tensor:
    """(B, N, D) the tokens at these places."""
    return x_BND.gather(1, place_BN[:, :, None].expand(-1, -1, x_BND.shape[2]))

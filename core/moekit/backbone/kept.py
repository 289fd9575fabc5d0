"""Blocks that run on the kept tokens of a pass; see `moekit.moe.tokens`.

Shapes: B images (or frames), N tokens, D width, R images of a group, C tokens that are computed for
each.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor, nn

from moekit.moe.routing import Routing
from moekit.moe.specialists import Grid, SpecialistSet
from moekit.moe.stats import BlockRouting, RoutingTrace
from moekit.moe.tokens import TokenChoice, TokenGroup

Run = Callable[[TokenGroup, Tensor, RoutingTrace | None], tuple[Tensor, dict[int, Tensor]]]
"""Runs blocks on (R, C, D) tokens of a group; gives the last output, and those to keep by block."""


def run_groups(
    tokens: TokenChoice,
    x_BND: Tensor,
    run: Run,
    *,
    keep: Collection[int],
    trace: RoutingTrace | None,
) -> tuple[Tensor, dict[int, Tensor]]:
    """Runs blocks on what is computed, group by group, and puts it back into whole maps.

    Args:
        tokens: The choice.
        x_BND: Tokens before the blocks.
        run: Runs the blocks.
        keep: Blocks whose output is wanted too.
        trace: Collects the routing if one is given.

    Returns:
        (B, N, D) the tokens after the blocks, and the outputs of the blocks in `keep`.
    """
    output_BND = x_BND.clone()
    kept = {block: x_BND.clone() for block in keep}
    traces: list[tuple[TokenGroup, RoutingTrace]] = []
    for group in tokens.groups:
        own = RoutingTrace()
        before_RCD = group.taken(x_BND)
        after_RCD, found = run(group, before_RCD, None if trace is None else own)
        group.put(output_BND, before_RCD, after_RCD)
        for block, value_RCD in found.items():
            group.put(kept[block], before_RCD, value_RCD)
        traces.append((group, own))
    if trace is not None:
        _merge(trace, traces, (x_BND.shape[0], x_BND.shape[1]))
    return output_BND, kept


def on_kept(
    specialists: SpecialistSet, group: TokenGroup, held_BND: Tensor, norm: nn.Module
) -> Callable[..., Tensor]:
    """Specialists that are called with what is computed, as a `SpecialistSet` is with all.

    Experts that read planes get whole ones, in which a token that skips has the value that it
    keeps, normalised as the block does, or that of its window.

    Args:
        specialists: Of a block.
        group: The images and their tokens.
        held_BND: The values that tokens keep.
        norm: The norm before the block's experts.
    """

    def call(
        normal_RCD: Tensor, grid: Grid, *, trace: RoutingTrace | None = None, block: int = 0
    ) -> Tensor:
        if not specialists.reads_map:
            own_RCD: Tensor = specialists(normal_RCD, grid, trace=trace, block=block)
            return own_RCD
        held_RND: Tensor = norm(held_BND[group.row_R]).to(normal_RCD.dtype)
        whole_RND = group.spread(normal_RCD, held_RND)
        output_RND: Tensor = specialists(whole_RND, grid, trace=trace, block=block)
        return group.collected(output_RND)

    return call


def _merge(
    trace: RoutingTrace, parts: Sequence[tuple[TokenGroup, RoutingTrace]], shape: tuple[int, int]
) -> None:
    """Files the routing of all groups as one decision for each router.

    Tokens that skip have no expert. The entropy is the mean over the tokens that a router saw.

    Args:
        trace: Takes it.
        parts: The groups of a pass, each with what its routers did.
        shape: B and N of the pass.
    """
    images, tokens = shape
    for decisions in zip(*(part.blocks for _, part in parts), strict=True):
        pairs = [
            _placed(one, group, tokens) for one, (group, _) in zip(decisions, parts, strict=True)
        ]
        first = decisions[0]
        seen = [one.routing.tokens for one in decisions]
        routing = Routing(
            token_P=torch.cat([token_P for token_P, _ in pairs]),
            expert_P=torch.cat([one.routing.expert_P for one in decisions]),
            weight_P=torch.cat([weight_P for _, weight_P in pairs]),
            tokens=images * tokens,
            experts=first.routing.experts,
        )
        entropy = sum(one.entropy * count for one, count in zip(decisions, seen, strict=True))
        trace.blocks.append(
            BlockRouting(
                block=first.block,
                kit=first.kit,
                counts_BE=routing.counts_BE(images),
                entropy=entropy / max(1, sum(seen)),
                routing=routing,
            )
        )


def _placed(one: BlockRouting, group: TokenGroup, tokens: int) -> tuple[Tensor, Tensor]:
    """A decision's tokens as rows of the whole batch, and its weights."""
    routing = one.routing
    place_RC = group.place_RC
    if routing.tokens != place_RC.numel():  # experts that read planes saw all of them
        place_RC = torch.arange(tokens, device=place_RC.device)
    row_RC = group.row_R[:, None] * tokens + place_RC
    return row_RC.flatten()[routing.token_P], routing.weight_P

"""How the tokens of a run's passes are routed, as its recipe says."""

from __future__ import annotations

from moekit.contract.recipe import Recipe
from moekit.errors import UsageError
from moekit.moe.token_gates import TOKEN_GATES
from moekit.moe.tokens import TokenRouting
from moekit.runtime.kit import KitModules


def routing_of(recipe: Recipe, kit: KitModules) -> TokenRouting | None:
    """The routing of a recipe: from its first block to the kit's own blocks.

    A kit's own blocks compute all tokens, so that specialists and heads see the same maps with and
    without a routing, and what is stored of the blocks before them is whole.

    Args:
        recipe: As the run was, or will be, trained.
        kit: The kit, not its baseline, which has the same routing.

    Returns:
        None if all tokens are computed.

    Raises:
        UsageError: The kit's own blocks begin before tokens may be routed.
    """
    if recipe.token_share == 1:
        return None
    if recipe.token_block >= kit.prefix_end:
        raise UsageError(
            f"tokens are routed from block {recipe.token_block} on, but the kit's own blocks begin "
            f"at {kit.prefix_end}",
            whose=f"kit {kit.name}",
            fix="choose an earlier token_block, or a token_share of 1",
            code="usage/out-of-range",
        )
    return TokenRouting(
        gate=TOKEN_GATES[recipe.token_gate],
        block=recipe.token_block,
        until=kit.prefix_end,
        share=recipe.token_share,
        window=recipe.token_window,
        name=recipe.token_gate,
    )

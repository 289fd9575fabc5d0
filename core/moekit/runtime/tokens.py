"""How the tokens of a run's passes are routed, as its recipe says."""

from __future__ import annotations

import dataclasses

import torch
from torch import nn

from moekit.contract.recipe import Recipe
from moekit.errors import PluginError, UsageError
from moekit.moe.owned import owned
from moekit.moe.token_gates import NamedTokenGate, TokenGate
from moekit.moe.tokens import TokenRouting
from moekit.plugins.registry import Registry
from moekit.runs.run import SELECTOR, Run
from moekit.runtime.kit import KitModules


def routes_tokens(recipe: Recipe, registry: Registry) -> bool:
    """Whether a recipe leaves tokens out: by its share, or since its gate knows which ones.

    Raises:
        UsageError: No gate has the name.
    """
    return recipe.token_share < 1 or registry.token_gate(recipe.token_gate).least_score is not None


def routing_of(
    recipe: Recipe, kit: KitModules, registry: Registry, *, width: int, seed: int = 0
) -> TokenRouting | None:
    """The routing of a recipe: from its first block to the kit's own blocks.

    A kit's own blocks compute all tokens, so that specialists and heads see the same maps with and
    without a routing, and what is stored of the blocks before them is whole.

    Args:
        recipe: As the run was, or will be, trained.
        kit: The kit, not its baseline, which has the same routing.
        registry: Provides the gate.
        width: Of the backbone's tokens.
        seed: Decides with what a learned gate begins; see `learned_part`.

    Returns:
        None if all tokens are computed.

    Raises:
        UsageError: The kit's own blocks begin before tokens may be routed, or no gate has the name.
        PluginError: The gate cannot be built.
    """
    if not routes_tokens(recipe, registry):
        return None
    if recipe.token_block >= kit.prefix_end:
        raise UsageError(
            f"tokens are routed from block {recipe.token_block} on, but the kit's own blocks begin "
            f"at {kit.prefix_end}",
            whose=f"kit {kit.name}",
            fix="choose an earlier token_block, or a token_share of 1 and another gate",
            code="usage/out-of-range",
        )
    return TokenRouting(
        gate=named_gate(recipe.token_gate, registry, width=width, seed=seed),
        block=recipe.token_block,
        until=kit.prefix_end,
        share=recipe.token_share,
        window=recipe.token_window,
    )


def named_gate(name: str, registry: Registry, *, width: int, seed: int = 0) -> NamedTokenGate:
    """A registered token gate, built for tokens of a width.

    Raises:
        UsageError: No gate has the name.
        PluginError: It cannot be built, or is learned and no module with weights.
    """
    spec, owner = registry.token_gate(name), registry.owner("token_gates", name)
    full = f"{owner.distribution}/{spec.name}"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        gate: TokenGate = owned(f"token gate {full}", lambda: spec.build(width))
    trainable = isinstance(gate, nn.Module) and any(True for _ in gate.parameters())
    if not callable(gate) or spec.learned > trainable:
        raise PluginError(
            "it is learned, but no module with weights" if callable(gate) else "it is not callable",
            whose=f"token gate {full}",
            fix=f"check its plugin with `moekit plugins check {owner.distribution}`",
            code="plugin/bad-gate",
        )
    if isinstance(gate, nn.Module):
        gate.eval().requires_grad_(False)
    return NamedTokenGate(
        gate=gate,
        name=full,
        version=owner.version,
        is_learned=spec.learned,
        least_score=spec.least_score,
    )


def learned_part(routing: TokenRouting | None) -> nn.Module | None:
    """The module of a routing's gate that is trained in the run; None if there is none."""
    gate = None if routing is None else routing.gate
    if isinstance(gate, NamedTokenGate) and gate.is_learned:
        return gate.gate if isinstance(gate.gate, nn.Module) else None
    return None


def with_hash(routing: TokenRouting, sha256: str) -> TokenRouting:
    """The routing, whose gate is known by the weights that it has learned."""
    assert isinstance(routing.gate, NamedTokenGate)
    return dataclasses.replace(routing, gate=dataclasses.replace(routing.gate, sha256=sha256))


def with_weights(
    routing: TokenRouting | None, run: Run, device: torch.device
) -> TokenRouting | None:
    """The routing of a finished run, with the weights that its gate has learned.

    Raises:
        WeightsError: They are missing or damaged.
    """
    module = learned_part(routing)
    if routing is None or module is None:
        return routing
    expected = run.read_finished()[SELECTOR]["sha256"]
    run.load_weights(SELECTOR, module, expected=expected)
    module.to(device)
    return with_hash(routing, expected)

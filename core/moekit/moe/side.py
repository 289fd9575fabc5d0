"""The specialists of several kits in one block of the side stream.

A set of specialists gives there what it gives in the trunk, to rounding. The linear maps of all
kits' experts are two grouped products, as those of adapters are where many language models share
one trunk (S-LoRA, Sheng et al. 2023, arXiv:2311.03285). What lies between the maps runs kit by kit,
in shapes that do not depend on the other kits, so each kit gets the same bits in any company.

Shapes: G kits, B images (or frames), N tokens, D width, E options of a set, R numbers of a token
behind the first maps of a set's experts, C columns before their last ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeGuard

import torch
from torch import Tensor, nn

from moekit.errors import MoekitError
from moekit.moe.dispatch import grouped_linear
from moekit.moe.specialists import BottleneckExpert, Grid, SpecialistSet
from moekit.moe.stats import RoutingTrace

_ALIGNED = 8
"""C is a multiple of it, so that each row of a grouped product is aligned."""


def form_of(chosen: SpecialistSet) -> tuple[int, int] | None:
    """R and C of a set; sets of one form share grouped products.

    None if an expert of the set is no `BottleneckExpert`, so that the set runs by itself.
    """
    experts = _bottlenecks(chosen)
    if len(experts) < len(chosen.experts):
        return None
    return sum(expert.down.out_features for expert in experts.values()), _columns(chosen)


def run_sets(
    sets: Sequence[SpecialistSet],
    x_GBND: Tensor,
    grid: Grid,
    *,
    trace: RoutingTrace | None,
    block: int,
) -> tuple[Tensor, dict[int, MoekitError]]:
    """The outputs of sets of one form, each for tokens of its own.

    Args:
        sets: G of them; a set of no form comes by itself.
        x_GBND: (G, B, N, D) normalised tokens.
        grid: Rows and columns of the patch tokens, and the frames of a stack.
        trace: Collects the routing if one is given.
        block: The number under which the trace files it.

    Returns:
        (G, B, N, D) outputs, and the errors of sets that failed, by their place; what stands at
        that place of the outputs means nothing.
    """
    failed: dict[int, MoekitError] = {}
    hidden_GBNR = _down(sets, x_GBND)
    mixed: list[Tensor] = []
    others: list[Tensor] = []
    for place, chosen in enumerate(sets):
        x_BND = x_GBND[place]
        try:
            weight_BNE = chosen.weights_of(chosen.route(x_BND, trace=trace, block=block), x_BND)
            hidden_BNR = None if hidden_GBNR is None else hidden_GBNR[place]
            mixed.append(_mixed(chosen, hidden_BNR, weight_BNE, grid))
            others.extend(_others(chosen, x_BND, weight_BNE, grid))
        except MoekitError as error:
            failed[place] = error
            mixed.append(x_BND.new_zeros(*x_BND.shape[:2], _columns(chosen)))
    output_GBND = _up(sets, mixed, x_GBND)
    for y_BND in others:  # of the only set
        output_GBND = output_GBND + y_BND
    return output_GBND, failed


def _bottlenecks(chosen: SpecialistSet) -> dict[int, BottleneckExpert]:
    """The experts of a set whose linear maps can be grouped, by their number."""
    return {index: expert for index, expert in enumerate(chosen.experts) if is_bottleneck(expert)}


def is_bottleneck(expert: nn.Module) -> TypeGuard[BottleneckExpert]:
    """Whether the linear maps of an expert can be grouped with those of others."""
    linear = all(isinstance(getattr(expert, name, None), nn.Linear) for name in ("down", "up"))
    return linear and callable(getattr(expert, "between", None))


def _columns(chosen: SpecialistSet) -> int:
    """C: what the last maps of a set's experts read, a weight for each bias, and the rounding."""
    found = _bottlenecks(chosen).values()
    needed = sum(expert.up.in_features + 1 for expert in found)
    return -(-needed // _ALIGNED) * _ALIGNED


def _down(sets: Sequence[SpecialistSet], x_GBND: Tensor) -> Tensor | None:
    """(G, B, N, R) behind the first maps of all bottlenecks; None if there are none."""
    layers = [[expert.down for expert in _bottlenecks(one).values()] for one in sets]
    if not layers[0]:
        return None
    weights = [torch.cat([layer.weight for layer in of_set]) for of_set in layers]
    hidden_GTR = grouped_linear(x_GBND.flatten(1, 2), weights)
    bias_GR = torch.stack([torch.cat([_bias(layer) for layer in of_set]) for of_set in layers])
    hidden_GTR = hidden_GTR + bias_GR[:, None].to(hidden_GTR.dtype)
    return hidden_GTR.view(*x_GBND.shape[:3], -1)


def _mixed(
    chosen: SpecialistSet, hidden_BNR: Tensor | None, weight_BNE: Tensor, grid: Grid
) -> Tensor:
    """(B, N, C): what the last maps of a set's bottlenecks read, weighted, and the weights."""
    parts: list[Tensor] = []
    first = 0
    if hidden_BNR is None:
        return weight_BNE[..., :0]
    weight_BNE = weight_BNE.to(hidden_BNR.dtype)
    experts = _bottlenecks(chosen)
    for index, expert in experts.items():
        last = first + expert.down.out_features
        found_BNF = chosen.between(index, hidden_BNR[..., first:last], grid)
        parts.append(found_BNF.to(hidden_BNR.dtype) * weight_BNE[..., index, None])
        first = last
    parts.extend(weight_BNE[..., index, None] for index in experts)
    joined_BNC = torch.cat(parts, dim=-1)
    return nn.functional.pad(joined_BNC, (0, _columns(chosen) - joined_BNC.shape[-1]))


def _others(chosen: SpecialistSet, x_BND: Tensor, weight_BNE: Tensor, grid: Grid) -> list[Tensor]:
    """The weighted outputs (B, N, D) of a set's other experts."""
    grouped = _bottlenecks(chosen)
    return [
        chosen.on_all(index, x_BND, grid) * weight_BNE[..., index, None].to(x_BND.dtype)
        for index in range(len(chosen.experts))
        if index not in grouped
    ]


def _up(sets: Sequence[SpecialistSet], mixed: Sequence[Tensor], x_GBND: Tensor) -> Tensor:
    """(G, B, N, D) behind the last maps of all bottlenecks, in the dtype of `x_GBND`."""
    columns = mixed[0].shape[-1]
    if not columns:
        return torch.zeros_like(x_GBND)
    weights = []
    for chosen in sets:
        layers = [expert.up for expert in _bottlenecks(chosen).values()]
        parts = [layer.weight for layer in layers] + [_bias(layer)[:, None] for layer in layers]
        whole_DC = torch.cat(parts, dim=1)
        weights.append(nn.functional.pad(whole_DC, (0, columns - whole_DC.shape[1])))
    mixed_GTC = torch.stack([one.flatten(0, 1) for one in mixed])
    return grouped_linear(mixed_GTC, weights).to(x_GBND.dtype).view(x_GBND.shape)


def _bias(layer: nn.Linear) -> Tensor:
    """The bias of a layer, zeros if it has none."""
    return layer.weight.new_zeros(layer.out_features) if layer.bias is None else layer.bias

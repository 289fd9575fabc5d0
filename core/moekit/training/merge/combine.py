"""The weights of several runs made one: their mean, or all of them side by side.

The mean is that of federated averaging (McMahan et al. 2017, arXiv:1602.05629) in one round: it
needs runs that began with the same weights. Side by side, the rows of all routers are joined, a
"none" of each run included: a token's options are those of all sites, so that the softmax over them
weighs the sites too. Two equal runs give what one of them gives.

Shapes: S specialists of a run in a block, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from moekit.errors import DataError
from moekit.moe.specialists import SpecialistSet
from moekit.plugins.sites import SiteHeads
from moekit.runtime.kit import KitModules


@torch.no_grad()
def average(target: KitModules, parts: Sequence[KitModules], shares: Sequence[float]) -> None:
    """Sets a kit's weights to the weighted mean of others.

    Args:
        target: Takes the mean.
        parts: The kits of the runs.
        shares: Their weights, of sum 1.

    Raises:
        DataError: Shapes differ between the runs, or arrays of whole numbers, such as indices.
    """
    states = [part.state_dict() for part in parts]
    mean = {}
    for name, first in states[0].items():
        values = [state[name] for state in states]
        if any(value.shape != first.shape for value in values):
            raise _differs(name, "shapes")
        counts = first.ndim == 0 and first.dtype == torch.int64  # such as of steps
        if first.is_floating_point() or counts:
            total = torch.zeros(first.shape, dtype=torch.float64)
            for value, share in zip(values, shares, strict=True):
                total += share * value.double()
            mean[name] = (total.round() if counts else total).to(first.dtype)
        elif all(torch.equal(value, first) for value in values):
            mean[name] = first
        else:
            raise _differs(name, "whole numbers")
    target.load_state_dict(mean)


@torch.no_grad()
def beside(target: KitModules, parts: Sequence[KitModules]) -> None:
    """Puts the specialists, router rows and heads of kits side by side.

    Args:
        target: A kit of as many sites, see `SpecialistSlot.sites`; takes the weights.
        parts: The kits of the runs.

    Raises:
        DataError: The gates of the runs have learned other weights.
    """
    for block, chosen in target.branches.items():
        _join(chosen, [part.branches[block] for part in parts])
    heads = cast(SiteHeads, target.head)
    heads.heads = nn.ModuleList(part.head for part in parts)


def _join(target: SpecialistSet, parts: Sequence[SpecialistSet]) -> None:
    experts = [expert for part in parts for expert in part.experts]
    for own, given in zip(target.experts, experts, strict=True):
        own.load_state_dict(given.state_dict())
    own_router = target.router
    own_router.weight_ED.copy_(_joined([part.router.weight_ED for part in parts], parts))
    own_router.bias_E.copy_(_joined([part.router.bias_E for part in parts], parts))
    gates = [part.gate for part in parts]
    if isinstance(target.gate, nn.Module):
        states = [cast(nn.Module, gate).state_dict() for gate in gates]
        for name, value in states[0].items():
            if not all(torch.equal(state[name], value) for state in states):
                raise _differs(f"gate.{name}", "weights of a gate")
        target.gate.load_state_dict(states[0])


def _joined(rows: Sequence[Tensor], parts: Sequence[SpecialistSet]) -> Tensor:
    """Rows of experts site by site, then those of each site's "none"."""
    counts = [len(part.experts) for part in parts]
    pairs = list(zip(rows, counts, strict=True))
    return torch.cat(
        [*(row[:count] for row, count in pairs), *(row[count:] for row, count in pairs)]
    )


def _differs(name: str, what: str) -> DataError:
    return DataError(
        f"the runs have other {what} in {name}",
        whose=name,
        fix="make all runs with the same versions of moekit and its plugins, or merge with "
        "--by route",
        code="data/unfit-run",
    )

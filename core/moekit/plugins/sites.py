"""Runs of one kit side by side: the specialists of each, and heads that answer together.

Shapes: B images (or the frames of stacks), N tokens, D width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from moekit.contract.kits import KitSpec
from moekit.contract.outputs import HeadOutput, HeadSite, Outputs
from moekit.contract.tasks import TaskSpec
from moekit.moe.specialists import Grid
from moekit.plugins.registry import Registry


class SiteHeads(nn.Module):
    """Heads that read the same tokens; their answers are merged as those of several views are.

    Maps that a task takes from the first view only are averaged: here no head is the first.

    Args:
        heads: One for each run.
        task: Merges their outputs.
    """

    def __init__(self, heads: Sequence[nn.Module], task: TaskSpec) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)
        self.reads_picture = any(getattr(head, "reads_picture", False) for head in heads)
        self.members: int = getattr(heads[0], "members", 1)
        self._merge = task.answering.merge
        self._maps = [one.name for one in task.outputs if one.turns is True]

    @property
    def kinds(self) -> tuple[str, ...]:
        """Those that all heads distinguish; empty if they differ."""
        known = {tuple(getattr(head, "kinds", ())) for head in self.heads}
        return known.pop() if len(known) == 1 else ()

    def forward(self, tokens: Sequence[Tensor], grid: Grid, **given: Any) -> Outputs:
        """The merged outputs of all heads for (B, N, D) tokens of each block that they read."""
        found = []
        for head in self.heads:
            wanted = given if getattr(head, "reads_picture", False) else {}
            output = head(list(tokens), grid, **wanted)
            found.append(output.as_outputs() if isinstance(output, HeadOutput) else output)
        merged = dict(self._merge(found))
        for name in self._maps:
            taken = merged.get(name)
            if (
                taken is not None
                and taken is found[0].get(name)
                and all(name in one for one in found)
            ):
                merged[name] = torch.stack([one[name] for one in found]).mean(0)
        return merged


def side_by_side(kit: KitSpec, sites: int, registry: Registry) -> KitSpec:
    """The kit with the specialists and the heads of several runs.

    Args:
        kit: As each of the runs was made with it.
        sites: How many runs.
        registry: Knows the task.
    """
    task = registry.task(kit.task)

    def heads_of(
        build: Callable[[HeadSite], nn.Module] | None,
    ) -> Callable[[HeadSite], nn.Module] | None:
        if build is None:
            return None
        return lambda site: SiteHeads([build(site) for _ in range(sites)], task)

    return dataclasses.replace(
        kit,
        slots=tuple(dataclasses.replace(slot, sites=sites) for slot in kit.slots),
        build_head=cast(Callable[[HeadSite], nn.Module], heads_of(kit.build_head)),
        baseline_head=heads_of(kit.baseline_head),
    )

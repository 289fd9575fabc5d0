"""Kits of the tests: small specialists that nobody trained, on any backbone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import moekit
from moekit import ExpertSpec, GateSpec, Grid, KitSpec, Registry, SpecialistSlot
from moekit.plugins.discovery import discover


class TokenExpert(nn.Module):
    """A bottleneck, token by token; zero at the start. Counts its calls."""

    reads_map = False

    def __init__(self, width: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(width, 8), nn.Linear(8, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)
        self.calls = 0

    def forward(self, x_TD: Tensor) -> Tensor:
        self.calls += 1
        output: Tensor = self.up(nn.functional.gelu(self.down(x_TD)))
        return output


class MapExpert(nn.Module):
    """A depthwise convolution over the patch grid; zero at the start. Counts its calls."""

    reads_map = True

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(width, width, 3, padding=1, groups=width)
        nn.init.zeros_(self.convolution.weight)
        nn.init.zeros_(self.convolution.bias)
        self.calls = 0

    def forward(self, x_BND: Tensor, grid: Grid) -> Tensor:
        self.calls += 1
        prefix = x_BND.shape[1] - grid.rows * grid.columns
        plane = x_BND[:, prefix:].transpose(1, 2).unflatten(2, grid)
        local = self.convolution(plane).flatten(2).transpose(1, 2)
        return torch.cat([torch.zeros_like(x_BND[:, :prefix]), local], dim=1)


class Head(nn.Module):
    """A linear layer on each patch of each block; the score is the mean patch."""

    def __init__(self, site: moekit.HeadSite) -> None:
        super().__init__()
        self.linear = nn.Linear(site.width * site.blocks, 1)

    def forward(self, tokens: Sequence[Tensor], grid: Grid) -> moekit.Outputs:
        patches = grid.rows * grid.columns
        joined = torch.cat([x_BND[:, -patches:] for x_BND in tokens], dim=2)
        map_BHW = self.linear(joined)[..., 0].unflatten(1, grid)
        return {"logit_B": map_BHW.mean((1, 2)), "map_BHW": map_BHW.sigmoid()}


class Hooks:
    """What the fake plugin provides, next to kits."""

    @moekit.hookimpl
    def moekit_experts(self) -> list[ExpertSpec]:
        return [
            ExpertSpec(name="token", build=TokenExpert, summary="-", source="the tests"),
            ExpertSpec(name="map", build=MapExpert, summary="-", source="the tests"),
        ]

    @moekit.hookimpl
    def moekit_gates(self) -> list[GateSpec]:
        return [
            GateSpec(name="best", build=moekit.TopKSoftmax, summary="-", source="the tests"),
            GateSpec(name="affine", build=moekit.TopKSigmoid, summary="-", source="the tests"),
        ]

    @moekit.hookimpl
    def moekit_kits(self) -> list[KitSpec]:
        return [KIT]


KIT = KitSpec(
    name="first",
    summary="-",
    slots=(
        SpecialistSlot(block=-3, experts=("token", "map"), gate="best", top_k=2),
        SpecialistSlot(block=-1, experts=("token",), gate="best", top_k=1),
    ),
    head_blocks=(-3, -1),
    build_head=Head,
    recipe=moekit.Recipe(),
    metrics=(),
    positive="odd",
    outcome_names={"missed": "miss", "false_alarm": "false alarm"},
    demo_dataset="none",
)


@pytest.fixture
def registry() -> Registry:
    """A registry with moekit's own plugin and the fake one."""
    made = Registry([plugin for plugin in discover() if plugin.distribution == "moekit"])
    made.register(Hooks(), distribution="fake")
    return made


@pytest.fixture
def make_kit() -> Callable[..., KitSpec]:
    """A kit like "first" of the fake plugin, with changes."""

    def make(name: str, **changes: Any) -> KitSpec:
        return dataclasses.replace(KIT, name=name, **changes)

    return make

"""Several kits on one backbone next to one kit alone: time and peak memory.

Shapes: B images.
"""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from moekit.backbone.model import MoEBackbone
from moekit.bench.timing import Call
from moekit.contract.experts import Placement
from moekit.contract.kits import KitSpec
from moekit.data.geometry import Frame
from moekit.data.stream import Preprocess
from moekit.errors import MoekitError
from moekit.plugins.registry import Registry
from moekit.runtime.device import Arithmetic
from moekit.runtime.kit import KitModules
from moekit.runtime.plan import RequestPlan, plan_passes
from moekit.runtime.predictor import Predictor
from moekit.runtime.runtime import Runtime
from moekit.runtime.together import compute_together

PLACEMENTS: Mapping[str, tuple[int, Placement]] = {
    "last3": (3, "trunk"),
    "last2": (2, "trunk"),
    "side": (3, "side"),
    "frozen": (0, "trunk"),
}
"""In how many of the last blocks a kit has specialists, and where they act, by a name."""
ALONE = "one kit"
"""The candidate that others are compared to: one kit by itself, without the shared code."""


def placed(spec: KitSpec, *, depth: int, own: int, placement: Placement = "trunk") -> KitSpec:
    """A kit with its first slot in each of the last `own` blocks, its head's blocks moved along.

    Args:
        spec: A kit with specialists.
        depth: Blocks of the backbone.
        own: Blocks with specialists; 0 for a head on frozen features.
        placement: Where the specialists act.
    """
    blocks = [block % depth for block in spec.head_blocks]
    moved = tuple(sorted({max(0, block + depth - 1 - max(blocks)) for block in blocks}))
    slots = tuple(
        dataclasses.replace(spec.slots[0], block=block) for block in range(depth - own, depth)
    )
    return dataclasses.replace(spec, slots=slots, head_blocks=moved, placement=placement)


def seeded_kits(
    spec: KitSpec, count: int, *, backbone: MoEBackbone, registry: Registry, arithmetic: Arithmetic
) -> dict[str, Predictor]:
    """Kits of one record with random weights, on which time does not depend."""
    found: dict[str, Predictor] = {}
    for seed in range(count):
        modules = KitModules(spec=spec, registry=registry, backbone=backbone)
        generator = torch.Generator().manual_seed(seed)
        for parameter in modules.parameters():
            nn.init.normal_(parameter, std=0.02, generator=generator)
        found[f"{spec.name}-{seed}"] = Predictor(
            backbone=backbone,
            kit=modules.requires_grad_(False),
            baseline=None,
            task=registry.task(spec.task),
            arithmetic=arithmetic,
        )
    return found


def kit_calls(
    predictors: Mapping[str, Predictor], inputs: Sequence[Tensor], counts: Sequence[int]
) -> tuple[dict[str, Call], dict[str, float]]:
    """Calls that answer normalised images with the first kits, and what arithmetic expects.

    Args:
        predictors: At least as many kits as the greatest count.
        inputs: (B, 3, H, W) each; calls take one after the other.
        counts: Numbers of kits.

    Returns:
        Calls by name, `ALONE` and "k kits" for each count; the expected ratios to `ALONE`.
    """
    first = next(iter(predictors.values()))
    height, width = inputs[0].shape[-2:]
    backbone = first.backbone
    reading = Preprocess(
        frame=Frame(height=height, width=width), mean=backbone.mean, std=backbone.std
    )
    calls: dict[str, Call] = {ALONE: lambda number: first(inputs[number % len(inputs)])}
    expected = {ALONE: 1.0}

    def call(chosen: Mapping[str, Predictor]) -> Call:
        def answer(number: int) -> object:
            failed: dict[str, MoekitError] = {}
            found = compute_together(chosen, inputs[number % len(inputs)], failed)
            for error in failed.values():
                raise error
            return found

        return answer

    for count in counts:
        chosen = dict(list(predictors.items())[:count])
        calls[f"{count} kits"] = call(chosen)
        passes = plan_passes(chosen, reading)
        alone = [plan_passes({name: one}, reading) for name, one in chosen.items()]
        costs = {name: own[0].total for name, own in zip(chosen, alone, strict=True)}
        expected[f"{count} kits"] = RequestPlan(passes=tuple(passes), alone=costs).ratio
    return calls, expected


def run_calls(
    runs: Sequence[Path], counts: Sequence[int], *, runtime: Runtime
) -> tuple[dict[str, Call], dict[str, float]]:
    """Calls that answer a picture by trained runs, loaded again and again until there are enough.

    Args:
        runs: Folders of finished runs, all of the runtime's backbone.
        counts: As of `kit_calls`.
        runtime: Attaches them; with more kits than it holds, a call loads some again.

    Returns:
        As of `kit_calls`; reading the picture is part of each call.
    """
    names = [
        runtime.load(runs[place % len(runs)], name=f"{runs[place % len(runs)].name}-{place}")
        for place in range(max(counts))
    ]
    pixels = np.random.default_rng(0).integers(0, 256, (448, 448, 3), dtype=np.uint8)
    picture = [Image.fromarray(pixels)]
    calls: dict[str, Call] = {ALONE: lambda _: runtime.answer(picture, kit=names[0])}
    expected = {ALONE: 1.0}

    def call(chosen: list[str]) -> Call:
        return lambda _: runtime.answer(picture, kits=chosen)

    for count in counts:
        calls[f"{count} kits"] = call(names[:count])
        expected[f"{count} kits"] = runtime.plan(names[:count]).ratio
    return calls, expected


def peak_bytes(call: Callable[[], object]) -> int | None:
    """The most memory that this process holds while a call runs: its peak resident set.

    None if the system does not let the peak be counted from here on (Linux does).
    """
    gc.collect()
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        call()
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return None
    (kib,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(kib) * 1024


def kit_with_specialists(registry: Registry) -> KitSpec | None:
    """The first installed kit that has specialists; None if there is none."""
    return next(_specs(registry), None)


def _specs(registry: Registry) -> Iterator[KitSpec]:
    for name in sorted(registry.names("kits")):
        try:
            spec = registry.kit(name)
        except MoekitError:
            continue  # `moekit plugins list` names its plugin
        if spec.slots:
            yield spec

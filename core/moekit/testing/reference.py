"""What kits are checked against and run on: a small backbone, a reference kit, a run.

Shapes: B images, N tokens, D width.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from lightning.fabric import Fabric
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from moekit.backbone.carve import carve
from moekit.backbone.model import MoEBackbone, Provenance
from moekit.contract.experts import ExpertSpec, GateSpec, SpecialistSlot
from moekit.contract.hookspecs import hookimpl
from moekit.contract.kits import KitSpec
from moekit.contract.outputs import HeadSite, Outputs
from moekit.contract.recipe import Recipe
from moekit.contract.report import RunEvent
from moekit.data.samples import Dataset
from moekit.evaluation.evaluate import EvaluateJob, evaluate
from moekit.files import read_json
from moekit.moe.gates import TopKSoftmax
from moekit.moe.specialists import Grid
from moekit.plugins.discovery import discover
from moekit.plugins.registry import Registry
from moekit.runs.run import Run
from moekit.testing.inputs import GRID, WIDTH, write_images
from moekit.training.adapt import AdaptJob, adapt

PATCH, DEPTH = 14, 12
SIDE = PATCH * GRID.rows
DISTRIBUTION = "moekit-reference"


class _Expert(nn.Module):
    reads_map = False

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x_TD: Tensor) -> Tensor:
        output: Tensor = self.up(x_TD)
        return output


class _Head(nn.Module):
    def __init__(self, site: HeadSite) -> None:
        super().__init__()
        self.linear = nn.Linear(site.width * site.blocks, 1)

    def forward(self, tokens: Sequence[Tensor], grid: Grid) -> Outputs:
        del grid
        pooled = torch.cat([x_BND.float().mean(1) for x_BND in tokens], dim=1)
        return {"logit_B": self.linear(pooled)[:, 0]}


class _Hooks:
    @hookimpl
    def moekit_experts(self) -> list[ExpertSpec]:
        return [ExpertSpec(name="plain", build=_Expert, summary="linear", source="moekit.testing")]

    @hookimpl
    def moekit_gates(self) -> list[GateSpec]:
        return [GateSpec(name="two", build=TopKSoftmax, summary="-", source="moekit.testing")]


QUICK = {
    "image_size": SIDE,
    "precision": "fp32",
    "views": 1,
    "epochs": 1,
    "baseline_epochs": 1,
    "batch_size": 8,
}

REFERENCE_KIT = KitSpec(
    name="reference",
    summary="one linear expert in the last block",
    slots=(
        SpecialistSlot(
            block=-1,
            experts=(f"{DISTRIBUTION}/plain",),
            gate=f"{DISTRIBUTION}/two",
            top_k=2,
        ),
    ),
    head_blocks=(-1,),
    build_head=_Head,
    recipe=Recipe.model_validate(QUICK),
    metrics=("moekit/auroc",),
    positive="marked",
    outcome_names={"missed": "miss", "false_alarm": "false alarm"},
    demo_dataset="folder",
)


def add_reference(registry: Registry) -> Registry:
    """The registry, with the reference kit's expert and gate in it."""
    if all(plugin.distribution != DISTRIBUTION for plugin in registry.plugins):
        registry.register(_Hooks(), distribution=DISTRIBUTION)
    return registry


@functools.cache
def small_backbone() -> MoEBackbone:
    """12 blocks of width 32 with random weights, for images whose side is a multiple of 14."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        vit = VisionTransformer(
            img_size=SIDE,
            patch_size=PATCH,
            embed_dim=WIDTH,
            depth=DEPTH,
            num_heads=2,
            num_classes=0,
            dynamic_img_size=True,
        )
    return carve(
        vit.eval(),
        provenance=Provenance(
            architecture="conformance",
            source="file",
            origin="random numbers",
            sha256="0" * 64,
            licence="CC0-1.0",
            note="Not trained; for checks of the contract only.",
        ),
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    )


def run_kit(kit: KitSpec, dataset: Dataset, folder: Path, registry: Registry) -> None:
    """Adapts a kit for one epoch and evaluates it, into a run folder."""
    fabric = Fabric(accelerator="cpu", devices=1, precision="32-true")
    fabric.launch()
    recipe = kit.recipe.changed(QUICK)
    run = Run(folder)
    adapt(
        AdaptJob(kit=kit, dataset=dataset, run=run, seed=0, recipe=recipe),
        backbone=small_backbone(),
        registry=registry,
        fabric=fabric,
        on_progress=lambda *_: None,
        on_epoch=lambda *_: None,
    )
    evaluate(
        EvaluateJob(kit=kit, dataset=dataset, run=run, batch_size=8),
        backbone=small_backbone(),
        registry=registry,
        on_progress=lambda *_: None,
    )


def reference_events(folder: Path, event: str) -> list[RunEvent]:
    """A run of the reference kit in `folder`, as a listener sees its two commands.

    Args:
        folder: Made by this call.
        event: `run_started` or `run_finished`.
    """
    images = folder.parent / "images"
    images.mkdir(parents=True)
    # Of moekit's own plugin alone, so that no listener hears of this run.
    own = [plugin for plugin in discover() if plugin.distribution == "moekit"]
    registry = add_reference(Registry(own, strict=False))
    dataset = write_images(images, None, side=SIDE)
    run_kit(REFERENCE_KIT, dataset, folder, registry)
    run, result = read_json(folder / "run.json"), read_json(folder / "result.json")
    records = {"adapt": run, "evaluate": result}
    if event == "run_started":
        records = dict.fromkeys(records, run["request"])
    commands: tuple[Literal["adapt", "evaluate"], ...] = ("adapt", "evaluate")
    return [
        RunEvent(
            command=command,
            folder=folder,
            kit=REFERENCE_KIT.name,
            dataset=dataset.name,
            record=records[command],
        )
        for command in commands
    ]

"""A small kit on a small backbone, with real images: seconds instead of minutes."""

import dataclasses
import json
import shutil
from importlib.resources import files
from pathlib import Path

import pytest
import timm
import torch
from lightning.fabric import Fabric
from torch import nn

import moekit
from moekit.data.samples import Dataset, Sample
from moekit.runs.run import Run
from moekit.training.adapt import AdaptJob, adapt

SIDE = 32


class LocalExpert(nn.Module):
    """A token expert with zero output at the start."""

    reads_map = False

    def __init__(self, width):
        super().__init__()
        self.down, self.up = nn.Linear(width, 4), nn.Linear(4, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x_TD):
        return self.up(nn.functional.gelu(self.down(x_TD)))


class MeanHead(nn.Module):
    """A linear layer on the mean tokens of the blocks it reads."""

    def __init__(self, site):
        super().__init__()
        self.linear = nn.Linear(site.width * site.blocks, 1)

    def forward(self, tokens, grid):
        pooled = torch.cat([x_BND.float().mean(1) for x_BND in tokens], dim=1)
        return {"logit_B": self.linear(pooled)[:, 0]}


class Hooks:
    @moekit.hookimpl
    def moekit_experts(self):
        return [moekit.ExpertSpec(name="local", build=LocalExpert, summary="-", source="-")]

    @moekit.hookimpl
    def moekit_gates(self):
        build = moekit.TopKSoftmax
        return [moekit.GateSpec(name="two_best", build=build, summary="-", source="-")]


@pytest.fixture
def registry():
    registry = moekit.Registry()
    registry.register(Hooks(), distribution="test")
    return registry


@pytest.fixture
def known(registry, kit):
    """The registry, in which the small kit is found by its name."""
    registry.kit = lambda name: dataclasses.replace(kit)
    registry.full_name = lambda kind, name, home=None: name.rpartition("/")[2]
    return registry


@pytest.fixture
def recipe():
    return moekit.Recipe(
        image_size=SIDE,
        precision="fp32",
        views=2,
        baseline_epochs=3,
        epochs=3,
        batch_size=8,
        learning_rate=1e-2,
        specialist_rate=1e-2,
    )


@pytest.fixture
def kit(recipe):
    slot = moekit.SpecialistSlot(block=1, experts=("local", "local"), gate="two_best", top_k=2)
    return moekit.KitSpec(
        name="small",
        summary="-",
        slots=(slot, dataclasses.replace(slot, block=2)),
        head_blocks=(0, 2),
        build_head=MeanHead,
        recipe=recipe,
        metrics=("auroc",),
        positive="defective",
        outcome_names={"missed": "escape", "false_alarm": "overkill"},
        demo_dataset="folder",
    )


@pytest.fixture
def small_backbone():
    torch.manual_seed(0)
    vit = timm.models.vision_transformer.VisionTransformer(
        img_size=SIDE, patch_size=8, embed_dim=32, depth=3, num_heads=2, num_classes=0
    )
    provenance = moekit.Provenance(
        architecture="test", source="file", origin="test", sha256="0" * 64, licence="-", note="-"
    )
    return moekit.carve(
        vit.eval(), provenance=provenance, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
    )


@pytest.fixture(scope="session")
def cells():
    """Real solar cells: 40 to train on and 20 to validate, both classes in each."""
    folder = Path(str(files("elpv_dataset"))) / "data"
    rows = [line.split() for line in (folder / "labels.csv").read_text().splitlines()]
    kept = [row for row in rows if row[1] in ("0.0", "1.0")][:60]
    return Dataset(
        name="cells",
        classes=("functional", "defective"),
        samples=tuple(
            Sample(
                id=name,
                path=folder / name,
                label=int(float(probability)),
                target=float(probability),
                split="val" if number % 3 == 0 else "train",
            )
            for number, (name, probability, _) in enumerate(kept)
        ),
    )


@pytest.fixture
def fabric():
    fabric = Fabric(accelerator="cpu", devices=1, precision="32-true")
    fabric.launch()
    return fabric


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache folder of the test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setattr("moekit.training.adapt.cache_folder", lambda: folder)
    return folder


@pytest.fixture
def run_adapt(kit, recipe, cells, small_backbone, registry, fabric, cache):
    """Adapts the small kit into a folder; keywords change the task."""

    def call(
        folder,
        *,
        on_epoch=lambda *_: None,
        on_progress=lambda *_: None,
        fabric=fabric,
        **changes,
    ):
        task = AdaptJob(
            **{
                "kit": kit,
                "dataset": cells,
                "run": Run(folder),
                "seed": 0,
                "recipe": recipe,
                **changes,
            }
        )
        return adapt(
            task,
            backbone=small_backbone,
            registry=registry,
            fabric=fabric,
            on_progress=on_progress,
            on_epoch=on_epoch,
        )

    return call


@pytest.fixture(scope="session")
def _finished():
    """Folders of finished runs by what was asked."""
    return {}


@pytest.fixture
def finished_run(run_adapt, _finished, tmp_path_factory):
    """As `run_adapt`, for tests of what follows a training: equal ones are made once, and copied.

    Returns what the run records.
    """

    def call(folder, **changes):
        asked = repr(sorted(changes.items()))
        if asked not in _finished:
            made = tmp_path_factory.mktemp("finished") / "run"
            run_adapt(made, **changes)
            _finished[asked] = made
        shutil.copytree(_finished[asked], folder, dirs_exist_ok=True)
        return json.loads((folder / "run.json").read_text())

    return call

"""Trains in as many processes as it is launched with; a script for torchrun.

`train_in_processes.py FOLDER PROCESSES` adapts the small kit, and pretrains specialists and the
base tier's twin.
"""

import contextlib
import functools
import importlib.util
import sys
from pathlib import Path

import torch
from lightning.fabric import Fabric

from moekit import Registry
from moekit.data.geometry import Frame
from moekit.plugins.changes import KitChanges
from moekit.pretraining.recipe import PretrainRecipe
from moekit.pretraining.specialists import PretrainJob, pretrain_specialists
from moekit.pretraining.tier import pretrain_backbone
from moekit.pretraining.tier_job import TierJob
from moekit.runs.pretrained import Pretrained
from moekit.runs.run import Run
from moekit.scale.tier import Tier
from moekit.training import adapt as training

QUIET = {"on_progress": lambda *_: None, "on_figures": lambda _: None, "on_note": lambda _: None}
RECIPE = PretrainRecipe(
    objective="self-distillation",
    image_size=32,
    epochs=1,
    batch_size=8,
    crops=2,
    small_crops=1,
    views=1,
    prototypes=32,
    probes=1,
    spread=0.0,  # compares the images of a process only
    precision="fp32",
)


def shared():
    path = Path(__file__).parent / "training" / "conftest.py"
    spec = importlib.util.spec_from_file_location("shared", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(folder: Path, processes: int) -> None:
    torch.set_num_threads(1)
    fabric = Fabric(
        accelerator="cpu",
        devices=processes,
        strategy="ddp_find_unused_parameters_true" if processes > 1 else "auto",
        precision="32-true",
    )
    fabric.launch()
    adapted(folder, processes, fabric)
    specialists(folder, processes, fabric)
    tier(folder, processes, fabric)


def adapted(folder: Path, processes: int, fabric: Fabric) -> None:
    parts = shared()
    registry = Registry()
    registry.register(parts.Hooks(), distribution="test")
    recipe = parts.recipe.__wrapped__()
    training.cache_folder = lambda: folder / "adapted"
    training.adapt(
        training.AdaptJob(
            kit=parts.kit.__wrapped__(recipe),
            dataset=parts.cells.__wrapped__(),
            run=Run(folder / f"run{processes}"),
            seed=0,
            recipe=recipe,
        ),
        backbone=parts.small_backbone.__wrapped__(),
        registry=registry,
        fabric=fabric,
        on_progress=lambda *_: None,
        on_epoch=lambda *_: None,
    )


def specialists(folder: Path, processes: int, fabric: Fabric) -> None:
    parts = shared()
    registry = Registry()
    registry.register(parts.Hooks(), distribution="test")
    torch.manual_seed(0)
    backbone = Tier(blocks=3, layer_scale=1.0).twin().build("cpu").requires_grad_(False)
    pretrain_specialists(
        PretrainJob(
            kit=parts.kit.__wrapped__(parts.recipe.__wrapped__()),
            kit_name="small",
            changes=KitChanges(),
            dataset=parts.cells.__wrapped__(),
            out=Pretrained(folder / f"specialists{processes}"),
            frame=Frame(height=32, width=32),
            seed=0,
            recipe=RECIPE,
            top_k=backbone.top_k,
            folder=folder / "cache",
            cache_limit=2**30,
        ),
        backbone=backbone,
        registry=registry,
        fabric=fabric,
        **QUIET,
    )


def tier(folder: Path, processes: int, fabric: Fabric) -> None:
    train = functools.partial(
        TierJob,
        tier=Tier(blocks=1).twin(),
        dataset=shared().cells.__wrapped__(),
        out=Pretrained(folder / f"tier{processes}"),
        seed=0,
        recipe=RECIPE.changed({"rate": 1e-3}),
        device=fabric.device,
        every=2,
    )
    if processes > 1:  # one process spreads nothing, many over both axes

        class Stopped(Exception):
            pass

        def stop(what: str, done: int, _total: int) -> None:
            if what == "pretraining, steps" and done == 3:
                raise Stopped

        with contextlib.suppress(Stopped):
            pretrain_backbone(train(expert_axis=processes), **{**QUIET, "on_progress": stop})
        train = functools.partial(train, expert_axis=processes, resume=True)
    pretrain_backbone(train(), **QUIET)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

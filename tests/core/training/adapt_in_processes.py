"""Adapts the small kit in as many processes as it is launched with; a script for torchrun."""

import importlib.util
import sys
from pathlib import Path

from lightning.fabric import Fabric

from moekit import Registry
from moekit.runs.run import Run
from moekit.training import adapt as module


def main(folder: Path, processes: int) -> None:
    spec = importlib.util.spec_from_file_location("shared", Path(__file__).with_name("conftest.py"))
    shared = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(shared)
    fabric = Fabric(
        accelerator="cpu",
        devices=processes,
        strategy="ddp_find_unused_parameters_true" if processes > 1 else "auto",
        precision="32-true",
    )
    fabric.launch()
    registry = Registry()
    registry.register(shared.Hooks(), distribution="test")
    recipe = shared.recipe.__wrapped__()
    module.cache_folder = lambda: folder / "cache"
    module.adapt(
        module.AdaptJob(
            kit=shared.kit.__wrapped__(recipe),
            dataset=shared.cells.__wrapped__(),
            run=Run(folder / f"run{processes}"),
            seed=0,
            recipe=recipe,
        ),
        backbone=shared.small_backbone.__wrapped__(),
        registry=registry,
        fabric=fabric,
        on_progress=lambda *_: None,
        on_epoch=lambda *_: None,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

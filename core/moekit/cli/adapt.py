"""`moekit adapt`: train a kit's specialists, gate and head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from moekit.cli.options import (
    command_line,
    data_option,
    debug_option,
    device_option,
    form_option,
    json_option,
    seed_option,
    weights_option,
    with_options,
)
from moekit.cli.output import Reporter, print_json, reporter, say

_GIB = 2**30


@click.command()
@click.argument("kit")
@with_options(
    data_option,
    click.option(
        "--out",
        "run_folder",
        required=True,
        type=click.Path(path_type=Path, file_okay=False),
        help="The run folder to make.",
    ),
    seed_option,
    click.option(
        "--from",
        "start",
        type=click.Path(path_type=Path, file_okay=False),
        help="A finished run of KIT to begin with, such as one to add new images to.",
    ),
    click.option("--resume", is_flag=True, help="Go on with an interrupted run."),
    click.option(
        "--expert",
        "experts",
        multiple=True,
        metavar="NAME",
        help="Add a registered expert beside the kit's own; may be given several times.",
    ),
    click.option("--gate", metavar="NAME", help="Use a registered gate instead of the kit's."),
    click.option("--epochs", type=click.IntRange(1), help="Epochs, instead of the kit's recipe."),
    click.option("--views", type=click.IntRange(1, 8), help="Views of each training image kept."),
    click.option("--image-size", type=click.IntRange(14), help="Side of the input, in pixels."),
    click.option("--precision", type=click.Choice(["auto", "fp32", "bf16"]), help="Arithmetic."),
    click.option("--top-k", type=click.IntRange(1), help="Generic experts a token has."),
    click.option(
        "--architecture", default=None, help="A timm vision transformer; the kit's backbone if not."
    ),
    weights_option,
    form_option,
    device_option,
    click.option("--devices", type=click.IntRange(1), default=1, help="Processes to train with."),
    click.option(
        "--cache-gib",
        type=click.FloatRange(0, min_open=True),
        default=16.0,
        show_default=True,
        help="Most disk space for frozen activations.",
    ),
    json_option,
    debug_option,
)
def adapt(kit: str, data: str, run_folder: Path, as_json: bool, **options: Any) -> None:
    """Train the specialists, router rows and head of KIT; the backbone stays as it is.

    The same head is trained on the bare backbone too, as the baseline that a report shows.
    """
    with reporter() as report:
        record = run_adaptation(kit, data=data, run_folder=run_folder, report=report, **options)
    if record is None:
        return
    if as_json:
        print_json(record)
    else:
        training, trained = record["training"]["kit"], record["parameters"]["trained"]
        what = (
            f"trained {trained:,} parameters in {training['epochs']} epochs and"
            if trained
            else f"learned from {record['images']['train']:,} images in"
        )
        say(f"{what} {training['seconds']:.0f} s; the run is in {run_folder}")
        if record["skipped"]:
            say(f"{len(record['skipped'])} inputs skipped; run.json names them")


def run_adaptation(
    kit: str,
    *,
    data: str,
    run_folder: Path,
    report: Reporter,
    seed: int = 0,
    start: Path | None = None,
    resume: bool = False,
    experts: Sequence[str] = (),
    gate: str | None = None,
    epochs: int | None = None,
    views: int | None = None,
    image_size: int | None = None,
    precision: str | None = None,
    top_k: int | None = None,
    architecture: str | None = None,
    weights: str = "auto",
    form: str = "auto",
    device: str = "auto",
    devices: int = 1,
    cache_gib: float = 16.0,
) -> dict[str, Any] | None:
    """Adapts a kit; returns the run's record, or None in all processes but the first."""
    from moekit.backbone.sources import DEFAULT_ARCHITECTURE
    from moekit.cli.session import open_backbone, quiet_libraries
    from moekit.plugins.changes import KitChanges, changed, kit_of_data
    from moekit.plugins.registry import Registry
    from moekit.runs.run import Run
    from moekit.training.adapt import Adaptation
    from moekit.training.adapt import adapt as train

    quiet_libraries()
    registry = Registry()
    kit_changes = KitChanges(experts=experts, gate=gate).full(registry)
    dataset = registry.load_dataset(data, seed=seed)
    fitting = kit_of_data(registry.kit(kit), negatives_only=dataset.negatives_only)
    spec = changed(fitting, kit_changes, registry)
    changes = {
        "epochs": epochs,
        "views": views,
        "image_size": image_size,
        "precision": precision,
    }
    given = {name: value for name, value in changes.items() if value is not None}
    recipe = type(spec.recipe).model_validate({**spec.recipe.model_dump(), **given})
    fabric = open_fabric(device, devices, recipe.precision)
    backbone = open_backbone(
        device=str(fabric.device),
        weights=weights,
        form=form,
        architecture=architecture or DEFAULT_ARCHITECTURE,
        top_k=top_k,
    )
    record = train(
        Adaptation(
            kit=spec,
            dataset=dataset,
            run=Run(run_folder),
            seed=seed,
            recipe=recipe,
            resume=resume,
            start=None if start is None else Run(start),
            changes=kit_changes,
            kit_name=registry.full_name("kits", kit),
            cache_limit=int(cache_gib * _GIB),
            command=command_line(),
        ),
        backbone=backbone,
        registry=registry,
        fabric=fabric,
        on_progress=report.update,
        on_epoch=lambda part, figures: report.line(_told(part, figures)),
    )
    return record if fabric.is_global_zero else None


_EPOCH = {
    "train_loss": "training loss {:.4f}",
    "val_loss": "validation loss {:.4f}",
    "val_auroc": "AUROC {:.4f}",
    "lr": "",
    "epoch": "",
    "seconds": "",
}


def _told(part: str, figures: Mapping[str, float]) -> str:
    """A line on an epoch; figures of a kit that trains in its own way are told as they are."""
    told = [_EPOCH.get(name, f"{name} {{:.6g}}").format(value) for name, value in figures.items()]
    return f"{part} epoch {figures['epoch']:.0f}: {', '.join(text for text in told if text)}"


def open_fabric(device: str, devices: int, precision: str) -> Any:
    """A launched Lightning Fabric for the device, the processes and the arithmetic."""
    from lightning.fabric import Fabric

    from moekit.runtime.device import pick_arithmetic, pick_device

    # A specialist that no token of a process chose has no gradient in that step.
    strategy = "ddp_find_unused_parameters_true" if devices > 1 else "auto"
    picked = pick_device(device)
    arithmetic = pick_arithmetic(precision, picked)
    fabric = Fabric(
        accelerator=picked.type,
        devices=[picked.index] if picked.index is not None else devices,
        strategy=strategy,
        precision="bf16-mixed" if arithmetic == "bf16" else "32-true",
    )
    fabric.launch()
    return fabric

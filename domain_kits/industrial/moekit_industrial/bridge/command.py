"""`moekit anomalib`: a model of anomalib as a baseline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from moekit import command_line, command_options, print_json, reporter, say

SUMMARY = "Fit and evaluate a model of anomalib as a baseline."
_RULE = "tail=0.02"


@click.command()
@click.argument("model")
@click.option(
    "--data", required=True, metavar="LOADER[=PATH]", help="The data, such as mvtec=PATH."
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="A new or empty folder.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="An argument of the model, such as layers=['blocks.7']; once for each.",
)
@click.option(
    "--image-size",
    type=click.IntRange(14, 4096),
    default=448,
    show_default=True,
    help="Side of the square input, in pixels.",
)
@click.option(
    "--bits",
    type=click.IntRange(8, 16),
    help="Bits of the numbers in files of more than 8 bits, as of `moekit adapt`.",
)
@click.option(
    "--max-steps", type=click.IntRange(1), help="Optimiser steps after which training ends."
)
@click.option(
    "--presample",
    type=click.IntRange(1),
    help="Patch embeddings drawn at random before a memory bank is thinned out.",
)
@click.option(
    "--threshold-rule",
    metavar="RULE",
    default=_RULE,
    show_default=True,
    help="How the threshold is chosen on validation scores, as of `moekit evaluate`.",
)
@click.option(
    "--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Random seed."
)
@click.option(
    "--batch-size",
    type=click.IntRange(1, 4096),
    default=8,
    show_default=True,
    help="Images a forward pass.",
)
@click.option(
    "--architecture", metavar="NAME", help="timm's name of the backbone, moekit's own by default."
)
@click.option(
    "--weights",
    default="auto",
    show_default=True,
    metavar="SOURCE",
    help="Backbone weights: auto, package, hub, or a safetensors file.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@command_options
def anomalib(model: str, as_json: bool, **options: Any) -> None:
    """Fit MODEL, a class of anomalib.models, and evaluate it on the test split.

    The model gets the data, the splits, the image size and the backbone weights of moekit. It
    learns from good parts only, and moekit's metrics judge its raw scores. Nothing is
    downloaded. `moekit report` reads the folder.
    """
    with reporter() as progress:
        result = run_baseline(model, on_progress=progress.update, **options)
    if as_json:
        print_json(result)
    else:
        _tell(result)


def run_baseline(
    model: str,
    *,
    data: str,
    out: Path,
    on_progress: Any,
    settings: tuple[str, ...] = (),
    image_size: int = 448,
    bits: int | None = None,
    max_steps: int | None = None,
    presample: int | None = None,
    threshold_rule: str = _RULE,
    seed: int = 0,
    batch_size: int = 8,
    architecture: str | None = None,
    weights: str = "auto",
    device: str = "auto",
) -> dict[str, Any]:
    """Fits and evaluates a model; returns the content of result.json."""
    from moekit import Registry
    from moekit.backbone import DEFAULT_ARCHITECTURE, check_known, find_weights
    from moekit.jobs import load_licensed, quiet_libraries
    from moekit.runtime import pick_device
    from moekit_industrial.bridge.fit import Fitting
    from moekit_industrial.bridge.models import parse_arguments
    from moekit_industrial.bridge.run import Baseline, evaluate_baseline
    from moekit_industrial.kit import INDUSTRIAL

    quiet_libraries()
    architecture = architecture or DEFAULT_ARCHITECTURE
    check_known(architecture)
    registry = Registry()
    return evaluate_baseline(
        Baseline(
            model=model,
            arguments=parse_arguments(settings),
            dataset=load_licensed(registry, data, seed=seed),
            out=out,
            kit=INDUSTRIAL,
            architecture=architecture,
            weights=find_weights(architecture, weights),
            image_size=image_size,
            bits=bits,
            fitting=Fitting(
                device=pick_device(device), max_steps=max_steps, presample=presample, seed=seed
            ),
            batch_size=batch_size,
            rule=threshold_rule,
            command=command_line(),
        ),
        registry=registry,
        on_progress=on_progress,
    )


def _tell(result: dict[str, Any]) -> None:
    click.echo(f"{result['foreign']} on {result['dataset']}, test split, n = {result['n']}")
    for name, entry in result["metrics"].items():
        value, interval = entry["value"], entry["ci95"]
        shown = "undefined" if value is None else f"{value:.4f}"
        if interval is not None:
            shown += f" [{interval[0]:.4f}, {interval[1]:.4f}]"
        click.echo(f"  {name} {shown}")
    used, memory = result["resources"], result["resources"]["peak_memory_bytes"]
    told = f"fitted in {used['fit_seconds']:.1f} s"
    if memory is not None:
        told += f", peak memory {memory / 2**30:.2f} GiB"
    speed = result["throughput"]
    say(f"{told}, {speed['images_per_s']:.2f} images/s at batch {speed['batch_size']}")
    known = (*result["point_in_words"], *result["notes"])
    for sentence in (*known, result["data"]["caution"], result["disclaimer"]):
        if sentence:
            say(sentence)

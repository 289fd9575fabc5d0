"""`moekit backbone upcycle`: more capacity at the same cost, for training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from moekit.cli.options import (
    architecture_option,
    debug_option,
    json_option,
    seed_option,
    weights_option,
    with_options,
)
from moekit.cli.output import print_json, print_table

if TYPE_CHECKING:
    from moekit.backbone.model import MoEBackbone


@click.command("upcycle")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The safetensors file to write.",
)
@with_options(architecture_option)
@click.option(
    "--experts", type=click.IntRange(1), default=16, show_default=True, help="Experts a block."
)
@click.option(
    "--slices",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    help="Slices that an FFN is cut into; a token has one replica of each.",
)
@click.option(
    "--noise",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    help="Noise in the replicas, as a share of the weights' spread; 0 is exact.",
)
@with_options(seed_option, weights_option, json_option, debug_option)
def upcycle(
    out: Path,
    architecture: str | None,
    experts: int,
    slices: int,
    noise: float,
    seed: int,
    weights: str,
    as_json: bool,
) -> None:
    """Turn a dense model into slices with replicas that compute the same, ready to be trained."""
    from moekit.backbone.sources import DEFAULT_ARCHITECTURE
    from moekit.backbone.upcycle import build_upcycled
    from moekit.backbone.upcycled_file import load_upcycled, save_upcycled
    from moekit.files import check_writable
    from moekit.jobs.session import open_backbone, quiet_libraries
    from moekit.runs.facts import backbone_facts

    quiet_libraries()
    check_writable(out.parent)
    name = architecture or DEFAULT_ARCHITECTURE
    made = build_upcycled(
        name, weights=weights, experts=experts, slices=slices, noise=noise, seed=seed
    )
    save_upcycled(made, out)
    del made
    model = load_upcycled(out)
    dense = open_backbone(device="cpu", weights=weights, architecture=name)
    facts = {
        **backbone_facts(model),
        "file": str(out),
        "slices": slices,
        "parameters": sum(value.numel() for value in model.parameters()),
        "dense_parameters": sum(value.numel() for value in dense.parameters()),
        "max_difference": _difference(model, dense),
    }
    if as_json:
        print_json(facts)
    else:
        print_table("Upcycled", ("", ""), [[key, str(value)] for key, value in facts.items()])


def _difference(first: MoEBackbone, second: MoEBackbone) -> float:
    """The greatest difference of the final features on one image of noise, 16 x 16 patches."""
    import torch

    side = 16 * first.patch
    image = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        gap = first(image).final_BND - second(image).final_BND
    return float(gap.abs().max())

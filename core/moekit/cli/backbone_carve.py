"""`moekit backbone carve`: a sparse form from unlabelled pictures, in closed form."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import click

from moekit.cli.options import (
    architecture_option,
    debug_option,
    device_option,
    json_option,
    seed_option,
    weights_option,
    with_options,
)
from moekit.cli.output import ProgressDisplay, print_json, print_table, reporter, say

images_option = click.option(
    "--images",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="A folder of pictures, without labels.",
)
form_out_option = click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The form's file (.safetensors).",
)
rank_option = click.option(
    "--rank",
    type=click.IntRange(0, 4096),
    default=128,
    show_default=True,
    help="Rank of each block's correction.",
)
size_option = click.option(
    "--image-size", type=click.IntRange(14), default=224, show_default=True, help="In pixels."
)
limit_option = click.option(
    "--limit", type=click.IntRange(8), default=None, help="Most pictures used; all if not given."
)


@click.command("carve")
@with_options(
    images_option,
    form_out_option,
    click.option(
        "--method",
        default="linear",
        show_default=True,
        help="moefication, cmoe, d2dmoe, mean or linear.",
    ),
    click.option("--compare", is_flag=True, help="Carve in every way and keep the best."),
    click.option(
        "--top-k",
        type=click.IntRange(1, 15),
        default=4,
        show_default=True,
        help="Experts that a token will have.",
    ),
    rank_option,
    click.option(
        "--limit",
        type=click.IntRange(8),
        default=300,
        show_default=True,
        help="Most pictures used.",
    ),
    size_option,
    architecture_option,
    seed_option,
    weights_option,
    device_option,
    json_option,
    debug_option,
)
def carve_command(images: Path, out: Path, as_json: bool, **options: Any) -> None:
    """Group each FFN's neurons into 16 experts and fit routers and stand-ins to real pictures."""
    with reporter() as progress:
        facts = run_carving(images, out, progress=progress, **options)
    if as_json:
        print_json(facts)
        return
    rows = [
        [name, *(f"{entry['patches']:.4f}" for entry in near.values())]
        for name, near in facts["compared"].items()
    ]
    tried = next(iter(facts["compared"].values()))
    print_table(
        "Mean cosine of patch features with the dense ones",
        ("method", *(f"top-{k}" for k in tried)),
        rows,
    )
    say(f"the form is {out}; make it better with `moekit backbone recover`")


def run_carving(
    images: Path,
    out: Path,
    *,
    progress: ProgressDisplay,
    method: str = "linear",
    compare: bool = False,
    top_k: int = 4,
    rank: int = 128,
    limit: int | None = 300,
    image_size: int = 224,
    architecture: str | None = None,
    seed: int = 0,
    weights: str = "auto",
    device: str = "auto",
) -> dict[str, Any]:
    """Carves and writes the form; returns its facts.

    Raises:
        UsageError: The method or the architecture is unknown.
        DataError: There are too few pictures.
        WeightsError: There are no weights.
        StorageError: The form cannot be written.
    """
    from moekit.backbone.sources import DEFAULT_ARCHITECTURE
    from moekit.backbone.sparse.form import save_form
    from moekit.backbone.sparse.methods import METHODS, find_method
    from moekit.data.stream import Preprocess
    from moekit.files import check_writable
    from moekit.jobs.session import open_backbone
    from moekit.training.recover.carve import carve_form
    from moekit.training.recover.pictures import batches, split_pictures
    from moekit.training.recover.quality import nearness_of_form

    check_writable(out.parent)
    methods = list(METHODS.values()) if compare else [find_method(method)]
    dense = open_backbone(
        device=device,
        weights=weights,
        architecture=architecture or DEFAULT_ARCHITECTURE,
        form="none",
    )
    preprocess = Preprocess(size=image_size, mean=dense.mean, std=dense.std)
    pictures = split_pictures(images, seed=seed, limit=limit)
    for note in pictures.notes:
        progress.line(note)
    tried = sorted({max(1, top_k // 2), top_k, min(15, 2 * top_k)})
    compared: dict[str, Any] = {}
    best = None
    for one in methods:
        form = carve_form(
            dense,
            batches(pictures.train, preprocess, batch_size=16),
            method=one,
            top_k=top_k,
            rank=rank,
            progress=functools.partial(progress.update, f"carve ({one.name}), blocks"),
        )
        held_out = batches(pictures.held_out, preprocess, batch_size=8)
        near = nearness_of_form(dense, form, held_out, top_k=tried)
        compared[one.name] = {str(k): value.as_json() for k, value in near.items()}
        if best is None or near[top_k].patches > best[0]:
            best = (near[top_k].patches, form)
    assert best is not None
    told = {"notes": list(pictures.notes)} if pictures.notes else {}
    counts = {"train": len(pictures.train), "held_out": len(pictures.held_out), **told}
    facts = {**best[1].facts, "pictures": counts, "image_size": image_size, "compared": compared}
    save_form(best[1].with_blocks(best[1].blocks, **facts), out)
    return facts

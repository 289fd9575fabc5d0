"""`moekit backbone recover`: a sparse form learns the dense features on unlabelled pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from moekit.cli.backbone_carve import form_out_option, images_option, limit_option, size_option
from moekit.cli.options import (
    debug_option,
    device_option,
    json_option,
    seed_option,
    weights_option,
    with_options,
)
from moekit.cli.output import ProgressDisplay, print_json, print_table, reporter, say


@click.command("recover")
@click.argument("form", type=click.Path(path_type=Path, dir_okay=False))
@with_options(
    images_option,
    form_out_option,
    click.option(
        "--passes",
        type=click.IntRange(0, 64),
        default=2,
        show_default=True,
        help="Passes of the fit block by block; 0 leaves it out.",
    ),
    click.option(
        "--steps",
        type=click.IntRange(0),
        default=600,
        show_default=True,
        help="Steps of the distillation; 0 leaves it out.",
    ),
    click.option(
        "--batch-size",
        type=click.IntRange(1, 4096),
        default=12,
        show_default=True,
        help="Images a step.",
    ),
    click.option(
        "--rate",
        type=click.FloatRange(0, min_open=True),
        default=3e-3,
        show_default=True,
        help="Peak rate of the distillation, as a share of each tensor's size.",
    ),
    limit_option,
    size_option,
    click.option("--resume", is_flag=True, help="Go on with an interrupted recovery."),
    seed_option,
    weights_option,
    device_option,
    json_option,
    debug_option,
)
def recover_command(form: Path, images: Path, out: Path, as_json: bool, **options: Any) -> None:
    """Train the routers and corrections of FORM to give the dense model's features.

    First every block is fitted in closed form on the tokens that the sparse model makes, then all
    of them together by gradients. The experts stay the dense model's.
    """
    with reporter() as progress:
        facts = run_recovery(form, images, out, progress=progress, **options)
    if as_json:
        print_json(facts)
        return
    rows = [
        [k, f"{entry['patches']:.4f}", f"{entry['class_token'] or float('nan'):.4f}"]
        for k, entry in facts["nearness"].items()
    ]
    print_table("Mean cosine with the dense features", ("top-k", "patches", "class token"), rows)
    say(f"the form is {out} ({out.stat().st_size / 1e6:.1f} MB)")


def run_recovery(
    form: Path,
    images: Path,
    out: Path,
    *,
    progress: ProgressDisplay,
    passes: int = 2,
    steps: int = 600,
    batch_size: int = 12,
    rate: float = 3e-3,
    limit: int | None = None,
    image_size: int = 224,
    resume: bool = False,
    seed: int = 0,
    weights: str = "auto",
    device: str = "auto",
) -> dict[str, Any]:
    """Recovers a form and writes it; returns its facts.

    Raises:
        UsageError: There is something to resume and `resume` is off, or the request differs.
        DataError: There are too few pictures, or a checkpoint cannot be used.
        WeightsError: There are no weights, or the form was made for others.
        StorageError: Something cannot be written.
    """
    from moekit.backbone.sparse.form import load_form
    from moekit.cli.options import command_line
    from moekit.files import check_writable
    from moekit.jobs.session import open_backbone
    from moekit.training.recover.distil import DistilRecipe
    from moekit.training.recover.recovery import Recovery, recover

    start = load_form(form)
    check_writable(out.parent)
    dense = open_backbone(
        device=device, weights=weights, architecture=start.architecture, form="none"
    )
    recovery = Recovery(
        start=start,
        images=images,
        out=out,
        passes=passes,
        image_size=image_size,
        limit=limit,
        resume=resume,
        command=command_line(),
        recipe=DistilRecipe(
            steps=steps,
            batch_size=batch_size,
            rate=rate,
            top_k=int(start.facts["top_k"]),
            seed=seed,
        ),
    )
    return recover(
        recovery,
        dense,
        on_progress=progress.update,
        on_line=progress.line,
    )

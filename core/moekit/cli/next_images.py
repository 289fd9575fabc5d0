"""`moekit next`: which images to look at next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from moekit.cli.imports import quick_imports
from moekit.cli.options import (
    batch_option,
    debug_option,
    device_option,
    examples,
    form_option,
    json_option,
    weights_option,
    with_options,
)
from moekit.cli.output import echo, print_json, reporter


@click.command(
    name="next",
    epilog=examples(
        "moekit next runs/parts new_parts/ --out next.csv",
        "moekit serve runs/parts --corrections corrections --review-list next.csv",
    ),
)
@click.argument("run", type=click.Path(path_type=Path, file_okay=False))
@click.argument("inputs", nargs=-1, type=click.Path(path_type=Path))
@with_options(
    click.option(
        "--data", metavar="LOADER[=PATH]", help="Data in place of INPUT, such as folder=PATH."
    ),
    click.option(
        "--out",
        required=True,
        type=click.Path(path_type=Path, dir_okay=False),
        help="The list, a CSV file.",
    ),
    click.option(
        "--corrections",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="FOLDER",
        help="Leave out images that were corrected already.",
    ),
    click.option("--most", type=click.IntRange(1), help="Most images that are listed."),
    batch_option,
    weights_option,
    form_option,
    device_option,
    json_option,
    debug_option,
)
def next_images(
    run: Path, inputs: tuple[Path, ...], out: Path, as_json: bool, **options: Any
) -> None:
    """List which INPUT images to look at next, those that would teach RUN most first.

    What counts is how near an answer is to another one, how far the baseline disagrees, and how
    unlike an image is to what the run learned from.
    """
    with reporter() as report:
        with quick_imports(report.update):
            from moekit.jobs import next_images as job

        made = job.next_images(run, inputs=inputs, out=out, on_progress=report.update, **options)
    if as_json:
        print_json({**made, "out": str(out)})
        return
    signs = ", ".join(made["signs"]) or "no sign"
    echo(f"{out}: {made['n']} of {made['looked_at']} images, by {signs}")
    if made["corrected"]:
        echo(f"{made['corrected']} images are corrected already")
    if made["copies"]:
        echo(f"{made['copies']} files are copies of others")
    for one in made["skipped"]:
        echo(f"skipped {one['id']}: {one['reason']}")

"""`moekit embed`: features of images by the frozen backbone, as a NumPy archive."""

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
    json_option,
    precision_option,
    weights_option,
    with_options,
)
from moekit.cli.output import echo, print_json, reporter


@click.command(epilog=examples("moekit embed photos/ --out features.npz"))
@click.argument("inputs", nargs=-1, required=True, type=click.Path(path_type=Path))
@with_options(
    click.option(
        "--out",
        required=True,
        type=click.Path(path_type=Path, dir_okay=False),
        help="The archive, .npz.",
    ),
    click.option(
        "--image-size",
        type=click.IntRange(14, 4096),
        default=224,
        show_default=True,
        help="Side of the square input, in pixels: a multiple of 14.",
    ),
    click.option(
        "--fit",
        type=click.Choice(["squash", "letterbox"]),
        default="squash",
        show_default=True,
        help="How pictures are fitted to it.",
    ),
    click.option("--top-k", type=click.IntRange(1, 16), help="Generic experts a token."),
    precision_option,
    batch_option,
    weights_option,
    device_option,
    json_option,
    debug_option,
)
def embed(inputs: tuple[Path, ...], out: Path, as_json: bool, **options: Any) -> None:
    """Write features of INPUT images, or folders of them, by the frozen backbone.

    The archive holds names, hashes, the class token and the mean patch token of each image. Use it
    for search, clustering or a classifier of your own.
    """
    options["precision"] = options["precision"] or "auto"
    with reporter() as progress:
        with quick_imports(progress.update):
            from moekit.jobs.embed import embed_images

        made = embed_images(inputs, out=out, on_progress=progress.update, **options)
    if as_json:
        print_json({**made, "out": str(out)})
        return
    echo(f"{out}: {made['n']} images, {made['width']} numbers each")
    for note in made["notes"]:
        echo(note)
    for one in made["skipped"]:
        echo(f"skipped {one['id']}: {one['reason']}")

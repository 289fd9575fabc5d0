"""`moekit import`: labels of annotation tools as corrections."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from moekit.cli.imports import quick_imports
from moekit.cli.options import debug_option, examples, json_option, run_option, with_options
from moekit.cli.output import echo, print_json, reporter


@click.command(
    name="import",
    epilog=examples(
        "moekit import annotations.xml --run runs/parts --images parts --corrections corrections",
        "moekit import project.json --run runs/parts --images parts --corrections corrections",
    ),
)
@click.argument("export", type=click.Path(path_type=Path, dir_okay=False))
@with_options(
    run_option,
    click.option(
        "--images",
        required=True,
        type=click.Path(path_type=Path, exists=True, file_okay=False),
        help="Folder of the images that were marked.",
    ),
    click.option(
        "--corrections",
        required=True,
        type=click.Path(path_type=Path, file_okay=False),
        metavar="FOLDER",
        help="Where they are kept; the folder of `moekit serve --corrections`.",
    ),
    click.option("--kit", metavar="NAME", help="Name of the kit there; that of RUN if not given."),
    click.option("--by", default="", metavar="NAME", help="Who marked them, if EXPORT is silent."),
    click.option(
        "--unmarked",
        metavar="CLASS",
        help="Class of pixels that nobody marked; the first one if not given.",
    ),
    json_option,
    debug_option,
)
def import_labels(export: Path, as_json: bool, **options: Any) -> None:
    """Keep what EXPORT says of images as corrections of a run's answers.

    EXPORT is "CVAT for images 1.1" (XML), JSON of Label Studio, or a COCO file. What cannot be used
    is counted by reason.
    """
    with reporter() as report:
        with quick_imports(report.update):
            from moekit.jobs import import_labels as job

        made = job.import_labels(export, on_progress=report.update, **options)
    if as_json:
        print_json(made)
        return
    known = f", {made['known']} were kept already" if made["known"] else ""
    echo(f"{made['format']}: {made['stored']} of {made['images']} images are kept{known}")
    for one in made["leftovers"]:
        echo(f"not used, {one['count']}: {one['reason']} (such as {', '.join(one['examples'])})")

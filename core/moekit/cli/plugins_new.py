"""`moekit plugins new`: the package of a new plugin."""

from __future__ import annotations

from pathlib import Path

import click

from moekit.cli.options import debug_option, json_option, with_options
from moekit.cli.output import print_json, say
from moekit.plugins.scaffold import PLUGIN_KINDS, new_plugin


@click.command()
@click.argument("name")
@with_options(
    click.option(
        "--kind",
        type=click.Choice(PLUGIN_KINDS),
        default="expert",
        show_default=True,
        help="What it provides.",
    ),
    click.option(
        "--out",
        type=click.Path(path_type=Path, file_okay=False),
        default=Path(),
        help="Where its folder is made; here if not given.",
    ),
    json_option,
    debug_option,
)
def new(name: str, kind: str, out: Path, as_json: bool) -> None:
    """Write the package of a new plugin, ready to install and to check."""
    written = new_plugin(name, kind, out)
    if as_json:
        print_json({"files": [str(path) for path in written]})
        return
    home = out / name
    for path in written:
        say(f"  {path}")
    say(f"next: pip install -e {home} && moekit plugins check {name}")

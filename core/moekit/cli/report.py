"""`moekit report`: a run as one HTML file."""

from __future__ import annotations

from pathlib import Path

import click

from moekit.cli.options import debug_option, examples, json_option, with_options
from moekit.cli.output import print_json, reporter, say


@click.command(
    epilog=examples(
        "moekit report runs/parts",
    )
)
@click.argument("run", type=click.Path(path_type=Path, file_okay=False))
@with_options(json_option, debug_option)
def report(run: Path, as_json: bool) -> None:
    """Write RUN/report.html, which needs nothing next to itself."""
    from moekit.report.report import render_report

    with reporter() as progress:
        path = render_report(run, on_progress=progress.update)
    if as_json:
        print_json({"report": str(path)})
    else:
        say(f"the report is {path}")

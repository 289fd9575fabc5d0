"""`moekit predict`: answer images of one's own."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from moekit.cli.imports import quick_imports
from moekit.cli.options import (
    backend_option,
    batch_option,
    debug_option,
    device_option,
    examples,
    form_option,
    json_option,
    precision_option,
    review_option,
    rule_option,
    run_option,
    use_option,
    weights_option,
    with_options,
)
from moekit.cli.output import ProgressDisplay, print_json, reporter, say


@click.command(
    epilog=examples(
        "moekit predict KIT new_parts/ --run runs/parts --out scored",
    )
)
@click.argument("kit")
@click.argument("inputs", nargs=-1, required=True, type=click.Path(path_type=Path))
@with_options(
    run_option,
    click.option(
        "--out",
        required=True,
        type=click.Path(path_type=Path, file_okay=False),
        help="Folder for predictions.csv and the overlays.",
    ),
    rule_option,
    use_option,
    review_option,
    backend_option,
    precision_option,
    batch_option,
    weights_option,
    form_option,
    device_option,
    json_option,
    debug_option,
)
def predict(kit: str, inputs: tuple[Path, ...], out: Path, as_json: bool, **options: Any) -> None:
    """Answer INPUT images, or folders of them, with a trained KIT.

    The same command goes on where an interrupted one stopped.
    """
    with reporter() as progress:
        summary = run_prediction(kit, inputs=inputs, out=out, progress=progress, **options)
    if as_json:
        print_json(summary)
    else:
        show_prediction(summary, out)


def run_prediction(
    kit: str,
    *,
    inputs: Sequence[Path],
    run_folder: Path,
    out: Path,
    progress: ProgressDisplay,
    batch_size: int = 16,
    threshold_rule: str | None = None,
    **how: Any,
) -> dict[str, Any]:
    """Answers inputs with progress on the terminal; returns what `--json` prints."""
    with quick_imports():
        from moekit.jobs.predict import predict_inputs
        from moekit.jobs.trained import Opening

    return predict_inputs(
        kit,
        inputs=inputs,
        run_folder=run_folder,
        out=out,
        on_progress=progress.update,
        on_note=progress.line,
        how=Opening(rule=threshold_rule, **how),
        batch_size=batch_size,
    )


def show_prediction(summary: dict[str, Any], out: Path) -> None:
    """What was done, one fact a line."""
    if "predictions" in summary:
        verdicts = collections.Counter(row["verdict"] for row in summary["predictions"])
        told = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
        say(f"{summary['n']} images: {told}; {summary['seconds']:.1f} s")
    else:
        for name, value in summary.items():
            if isinstance(value, str | int | float):
                say(f"{name}: {value}")
    for note in summary.get("notes", ()):
        say(note)
    say(f"everything is in {out}")
    for sentence in (summary.get("trained on"), summary.get("disclaimer")):
        if sentence:
            say(sentence)

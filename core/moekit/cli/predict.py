"""`moekit predict`: answer images of one's own."""

from __future__ import annotations

import collections
from collections.abc import Callable, Sequence
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
    use_option,
    weights_option,
    with_options,
)
from moekit.cli.output import ProgressDisplay, print_json, reporter, say
from moekit.errors import UsageError

AUTO = "auto"
"""In the place of a kit: each image is answered by the run that it belongs to."""


@click.command(
    epilog=examples(
        "moekit predict KIT new_parts/ --run runs/parts --out scored",
        "moekit predict auto mixed/ --run runs/parts --run runs/boards --out sorted",
    )
)
@click.argument("kit")
@click.argument("inputs", nargs=-1, required=True, type=click.Path(path_type=Path))
@with_options(
    click.option(
        "--run",
        "run_folders",
        required=True,
        multiple=True,
        metavar="[NAME=]RUN",
        help="The run folder that `moekit adapt` made; with auto in the place of KIT several, each "
        "with a name if its folder's will not do.",
    ),
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
def predict(
    kit: str,
    inputs: tuple[Path, ...],
    run_folders: tuple[str, ...],
    out: Path,
    as_json: bool,
    **options: Any,
) -> None:
    """Answer INPUT images, or folders of them, with a trained KIT.

    With auto in the place of KIT each image is answered by the run that it belongs to by its looks,
    and an image of none is called foreign. The same command goes on where an interrupted one
    stopped.
    """
    if kit == AUTO:
        _refuse_options(options)
        with reporter() as progress:
            summary = run_selection(inputs, runs=run_folders, out=out, progress=progress, **options)
        show: Callable[[dict[str, Any], Path], None] = show_selection
    else:
        with reporter() as progress:
            folder = _only(run_folders)
            summary = run_prediction(
                kit, inputs=inputs, run_folder=folder, out=out, progress=progress, **options
            )
        show = show_prediction
    if as_json:
        print_json(summary)
    else:
        show(summary, out)


def _only(runs: Sequence[str]) -> Path:
    if len(runs) > 1:
        raise UsageError(
            f"one kit is named, and {len(runs)} runs",
            whose="--run",
            fix="name one run, or auto in the place of the kit",
            code="usage/option-conflict",
        )
    return Path(runs[0])


def _refuse_options(options: dict[str, Any]) -> None:
    """What runs keep decides their answers if they are chosen."""
    names = ("threshold_rule", "use", "review", "precision")
    given = [f"--{name.replace('_', '-')}" for name in names if options.pop(name)]
    given += ["--backend"] if options.pop("backend") != "torch" else []
    if given:
        raise UsageError(
            "each run answers as it is kept if it is chosen by itself",
            whose=", ".join(given),
            fix="leave it out, or name the kit",
            code="usage/option-conflict",
        )


def run_selection(
    inputs: Sequence[Path], *, runs: Sequence[str], progress: ProgressDisplay, **options: Any
) -> dict[str, Any]:
    """Answers inputs by the runs that they belong to, with progress on the terminal."""
    with quick_imports(progress.update):
        from moekit.jobs.select import predict_selected
        from moekit.serve.facts import named_runs

    return predict_selected(
        inputs,
        runs=named_runs(list(runs)),
        on_progress=progress.update,
        on_note=progress.line,
        **options,
    )


def show_selection(summary: dict[str, Any], out: Path) -> None:
    """How many images went where."""
    told = [f"{count} to {name}" for name, count in summary["chosen"].items()]
    told += [f"{summary[name]} {name}" for name in ("foreign", "unreadable") if summary[name]]
    say(f"{summary['n']} images: {', '.join(told)}; {summary['seconds']:.1f} s")
    say(f"everything is in {out}")


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
    with quick_imports(progress.update):
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

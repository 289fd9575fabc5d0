"""`moekit demo`: a kit's main job on data that comes with its install."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from moekit.cli.adapt import run_adaptation
from moekit.cli.evaluate import run_evaluation, show_result
from moekit.cli.options import (
    debug_option,
    device_option,
    json_option,
    seed_option,
    weights_option,
    with_options,
)
from moekit.cli.output import print_json, reporter, say
from moekit.cli.predict import run_prediction


@click.command()
@click.argument("kit")
@with_options(
    click.option(
        "--data",
        metavar="LOADER[=PATH]",
        help="Other data than the kit's demonstration, such as folder=PATH.",
    ),
    click.option(
        "--out",
        type=click.Path(path_type=Path, file_okay=False),
        default=None,
        help="The run folder; runs/demo-KIT where not given, with --data runs/demo-KIT-LOADER.",
    ),
    seed_option,
    weights_option,
    device_option,
    json_option,
    debug_option,
)
def demo(
    kit: str,
    data: str | None,
    out: Path | None,
    seed: int,
    weights: str,
    device: str,
    as_json: bool,
) -> None:
    """Adapt KIT to its demonstration data, evaluate it, write the report and predict.

    The inputs to predict are those that the kit brings for its own demonstration data; other data
    have none. An interrupted demonstration goes on where it stopped; a finished one is evaluated
    again.
    """
    from moekit.plugins.registry import Registry
    from moekit.report.report import render_report

    spec = Registry().kit(kit)
    run_folder = out or Path("runs") / _folder_name(spec.name, data)
    predicted: dict[str, dict[str, Any]] = {}
    with reporter() as report:
        run_adaptation(
            kit,
            data=data or spec.demo_dataset,
            run_folder=run_folder,
            report=report,
            seed=seed,
            resume=True,
            weights=weights,
            device=device,
        )
        result = run_evaluation(
            kit,
            data=data or spec.demo_dataset,
            run_folder=run_folder,
            report=report,
            weights=weights,
            device=device,
        )
        path = render_report(run_folder)
        if data is None and spec.demo_inputs is not None:
            for name, source in spec.demo_inputs(run_folder / "demo_inputs").items():
                predicted[name] = run_prediction(
                    kit,
                    inputs=(source,),
                    run_folder=run_folder,
                    out=run_folder / "predicted" / name,
                    report=report,
                    weights=weights,
                    device=device,
                )
    if as_json:
        print_json({**result, "report": str(path), "predicted": predicted})
        return
    for name, summary in predicted.items():
        _show_counts(name, summary, run_folder / "predicted" / name)
    show_result(result)
    say(f"the report is {path}")


def _folder_name(kit: str, data: str | None) -> str:
    loader = "" if data is None else f"-{data.partition('=')[0].replace('/', '-')}"
    return f"demo-{kit}{loader}"


def _show_counts(name: str, summary: dict[str, Any], out: Path) -> None:
    """How much of the input became what."""
    counts = ", ".join(f"{key} {value}" for key, value in summary.items() if type(value) is int)
    say(f"predicted {name}: {counts}; see {out}")

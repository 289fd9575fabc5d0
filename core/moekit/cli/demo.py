"""`moekit demo`: a kit's main job on data that comes with its install."""

from __future__ import annotations

from pathlib import Path

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


@click.command()
@click.argument("kit")
@with_options(
    click.option(
        "--out",
        type=click.Path(path_type=Path, file_okay=False),
        default=None,
        help="The run folder; runs/demo-KIT where not given.",
    ),
    seed_option,
    weights_option,
    device_option,
    json_option,
    debug_option,
)
def demo(kit: str, out: Path | None, seed: int, weights: str, device: str, as_json: bool) -> None:
    """Adapt KIT to its demonstration data, evaluate it and write the report.

    An interrupted demonstration goes on where it stopped; a finished one is evaluated again.
    """
    from moekit.evaluation.report import render_report
    from moekit.plugins.registry import Registry

    run_folder = out or Path("runs") / f"demo-{kit}"
    data = Registry().kit(kit).demo_dataset
    with reporter() as report:
        run_adaptation(
            kit,
            data=data,
            run_folder=run_folder,
            report=report,
            seed=seed,
            resume=True,
            weights=weights,
            device=device,
        )
        result = run_evaluation(
            kit, data=data, run_folder=run_folder, report=report, weights=weights, device=device
        )
    path = render_report(run_folder)
    if as_json:
        print_json({**result, "report": str(path)})
        return
    show_result(result)
    say(f"the report is {path}")

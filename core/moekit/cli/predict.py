"""`moekit predict`: score images of one's own."""

from __future__ import annotations

import collections
import dataclasses
import functools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from moekit.cli.options import (
    batch_option,
    debug_option,
    device_option,
    form_option,
    json_option,
    run_option,
    weights_option,
    with_options,
)
from moekit.cli.output import Reporter, print_json, reporter, say
from moekit.cli.trained import (
    backend_option,
    open_trained,
    precision_option,
    review_option,
    rule_option,
)


@click.command()
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
    run_folder: Path,
    out: Path,
    threshold_rule: str | None,
    review: str | None,
    precision: str | None,
    batch_size: int,
    weights: str,
    form: str,
    device: str,
    backend: str,
    as_json: bool,
) -> None:
    """Score INPUT images, or folders of them, with a trained KIT.

    The same command goes on where an interrupted one stopped.
    """
    with reporter() as report:
        summary = run_prediction(
            kit,
            inputs=inputs,
            run_folder=run_folder,
            out=out,
            report=report,
            threshold_rule=threshold_rule,
            review=review,
            precision=precision,
            batch_size=batch_size,
            weights=weights,
            form=form,
            device=device,
            backend=backend,
        )
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
    report: Reporter,
    threshold_rule: str | None = None,
    review: str | None = None,
    precision: str | None = None,
    batch_size: int = 16,
    weights: str = "auto",
    form: str = "auto",
    device: str = "auto",
    backend: str = "torch",
) -> dict[str, Any]:
    """Scores inputs with a run; returns what `--json` prints."""
    from moekit.contract.jobs import PredictJob
    from moekit.errors import UsageError
    from moekit.plugins.changes import kit_of_run
    from moekit.plugins.registry import Registry
    from moekit.prediction.predict import check_paths, collect_inputs, score_pictures
    from moekit.prediction.predict import predict as score
    from moekit.runs.run import Run

    registry = Registry()
    if registry.kit(kit).predict is None:
        check_paths(inputs)  # a kit that predicts in its own way tells in its own words
    run = Run(run_folder)
    spec = kit_of_run(registry, kit, run.read_finished())
    if spec.predict is not None and review is not None:
        raise UsageError(
            f"the kit {spec.name} predicts in its own way, which has no review zone",
            whose="--review",
            fix="leave it out",
        )
    found = collect_inputs(inputs) if spec.predict is None else []
    trained = open_trained(
        spec,
        run,
        registry=registry,
        threshold_rule=threshold_rule,
        review=review,
        precision=precision,
        weights=weights,
        form=form,
        device=device,
        backend=backend,
    )
    predictor, preprocess = trained.predictor, trained.preprocess
    if spec.predict is not None:
        return spec.predict(
            PredictJob(
                inputs=tuple(inputs),
                out=out,
                score=functools.partial(score_pictures, predictor, preprocess, batch_size),
                threshold=trained.threshold,
                provenance=trained.provenance,
                batch_size=batch_size,
                on_progress=report.update,
                frames=preprocess.frames,
            )
        )
    began = time.perf_counter()
    rows = score(
        found,
        predictor=predictor,
        preprocess=preprocess,
        threshold=trained.threshold,
        positive=spec.positive,
        provenance=trained.provenance,
        out=out,
        batch_size=batch_size,
        on_progress=report.update,
        review=trained.review,
    )
    return {
        **trained.provenance,
        "n": len(rows),
        "unreadable": sum(row.score is None for row in rows),
        "seconds": time.perf_counter() - began,
        "predictions": [dataclasses.asdict(row) for row in rows],
    }


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
    say(f"everything is in {out}")
    for sentence in (summary.get("trained on"), summary.get("disclaimer")):
        if sentence:
            say(sentence)

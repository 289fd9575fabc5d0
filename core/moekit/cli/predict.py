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
    click.option(
        "--threshold-rule",
        metavar="RULE",
        help="How the threshold is chosen on the run's validation scores; the kit's own where not "
        "given.",
    ),
    click.option("--precision", type=click.Choice(["fp32", "bf16"]), help="Arithmetic."),
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
    precision: str | None,
    batch_size: int,
    weights: str,
    form: str,
    device: str,
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
            precision=precision,
            batch_size=batch_size,
            weights=weights,
            form=form,
            device=device,
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
    precision: str | None = None,
    batch_size: int = 16,
    weights: str = "auto",
    form: str = "auto",
    device: str = "auto",
) -> dict[str, Any]:
    """Scores inputs with a run; returns what `--json` prints."""
    from moekit.cli.session import open_backbone
    from moekit.data.predictions import Predictions
    from moekit.evaluation.evaluate import load_predictor, preprocess_of
    from moekit.evaluation.predict import check_paths, collect_inputs, score_pictures
    from moekit.evaluation.predict import predict as score
    from moekit.evaluation.threshold import choose_threshold
    from moekit.plugins.changes import kit_of_run
    from moekit.plugins.records import PredictTask
    from moekit.plugins.registry import Registry
    from moekit.training.run import Run

    registry = Registry()
    if registry.kit(kit).predict is None:
        check_paths(inputs)  # a kit that predicts in its own way tells in its own words
    run = Run(run_folder)
    record = run.read_finished()
    spec = kit_of_run(registry, kit, record)
    found = collect_inputs(inputs) if spec.predict is None else []
    backbone = open_backbone(
        device=device,
        weights=weights,
        architecture=record["backbone"]["architecture"],
        form=form,
    )
    predictor = load_predictor(
        run, spec, backbone=backbone, registry=registry, with_baseline=False, precision=precision
    )
    validation = Predictions.read_csv(run.validation)
    point = choose_threshold(
        validation.scores, validation.labels, rule=threshold_rule or spec.threshold_rule
    )
    provenance = {
        "kit": spec.name,
        "kit_sha256": record["weights"]["kit_sha256"],
        "backbone_sha256": backbone.provenance.sha256,
        "threshold": point.threshold,
        "rule": point.rule,
        "precision": predictor.arithmetic,
        "disclaimer": spec.disclaimer,
    }
    if record.get("caution"):
        provenance["trained on"] = record["caution"]
    preprocess = preprocess_of(run, backbone)
    if spec.predict is not None:
        return spec.predict(
            PredictTask(
                inputs=tuple(inputs),
                out=out,
                score=functools.partial(score_pictures, predictor, preprocess, batch_size),
                threshold=point.threshold,
                provenance=provenance,
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
        threshold=point.threshold,
        positive=spec.positive,
        provenance=provenance,
        out=out,
        batch_size=batch_size,
        on_progress=report.update,
    )
    return {
        **provenance,
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

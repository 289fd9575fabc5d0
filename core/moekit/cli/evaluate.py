"""`moekit evaluate`: score a split and write every metric with its interval."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from moekit.cli.options import (
    batch_option,
    command_line,
    data_option,
    debug_option,
    device_option,
    form_option,
    json_option,
    run_option,
    seed_option,
    weights_option,
    with_options,
)
from moekit.cli.output import Reporter, print_json, print_table, reporter


@click.command()
@click.argument("kit")
@with_options(
    data_option,
    run_option,
    click.option(
        "--split",
        type=click.Choice(["train", "val", "test"]),
        default="test",
        show_default=True,
        help="The split to score.",
    ),
    click.option(
        "--threshold-rule",
        metavar="RULE",
        help="How the threshold is chosen on validation scores: accuracy, f1, youden, "
        "max-miss=0.02, max-false-alarm=0.05 or tail=0.01; the kit's own where not given.",
    ),
    click.option("--precision", type=click.Choice(["fp32", "bf16"]), help="Arithmetic."),
    seed_option,
    batch_option,
    weights_option,
    form_option,
    device_option,
    json_option,
    debug_option,
)
def evaluate(kit: str, as_json: bool, **options: Any) -> None:
    """Score a split of the data with a trained KIT and with its baseline.

    Every metric has a 95% interval; the threshold comes from the validation split of the run.
    """
    with reporter() as report:
        result = run_evaluation(kit, report=report, **options)
    if as_json:
        print_json(result)
    else:
        show_result(result)


def run_evaluation(
    kit: str,
    *,
    data: str,
    run_folder: Path,
    report: Reporter,
    split: str = "test",
    threshold_rule: str | None = None,
    precision: str | None = None,
    seed: int = 0,
    batch_size: int = 16,
    weights: str = "auto",
    form: str = "auto",
    device: str = "auto",
) -> dict[str, Any]:
    """Evaluates a run; returns the content of result.json."""
    from moekit.cli.session import open_backbone
    from moekit.evaluation.evaluate import Evaluation
    from moekit.evaluation.evaluate import evaluate as score
    from moekit.plugins.changes import kit_of_run
    from moekit.plugins.registry import Registry
    from moekit.runs.run import Run

    run = Run(run_folder)
    record = run.read_finished()
    registry = Registry()
    spec = kit_of_run(registry, kit, record)
    dataset = registry.load_dataset(data, seed=record["request"]["seed"])
    backbone = open_backbone(
        device=device,
        weights=weights,
        architecture=record["backbone"]["architecture"],
        form=form,
    )
    return score(
        Evaluation(
            kit=spec,
            dataset=dataset,
            run=run,
            split=split,
            rule=threshold_rule or spec.threshold_rule,
            batch_size=batch_size,
            seed=seed,
            precision=precision,
            command=command_line(),
        ),
        backbone=backbone,
        registry=registry,
        on_progress=report.update,
    )


def show_result(result: dict[str, Any]) -> None:
    """The metrics as a table, the kit beside its baseline."""
    baseline = (result.get("baseline") or {}).get("metrics", {})
    rows = [
        [name, _figure(entry), _figure(baseline.get(name)), "up" if up else "down"]
        for name, entry in result["metrics"].items()
        for up in [entry["higher_is_better"]]
    ]
    print_table(
        f"{result['kit']} on {result['dataset']}, {result['split']} split, n = {result['n']}",
        ("metric [95% interval]", "specialist", "frozen backbone, same head", "better"),
        rows,
    )
    comparison = result.get("comparison")
    if comparison:
        low, high = comparison["ci95"]
        click.echo(
            f"AUROC difference {comparison['auroc_difference']:+.4f} [{low:+.4f}, {high:+.4f}], "
            f"DeLong p = {comparison['delong_p']:.2g}"
        )
    if result["skipped"]:
        click.echo(f"{len(result['skipped'])} inputs skipped; result.json names them")
    for sentence in (*result["notes"], result["data"]["caution"], result["disclaimer"]):
        if sentence:
            click.echo(sentence)


def _figure(entry: dict[str, Any] | None) -> str:
    if entry is None or entry["value"] is None:
        return "undefined"
    if entry["ci95"] is None:
        return f"{entry['value']:.4f}"
    return f"{entry['value']:.4f} [{entry['ci95'][0]:.4f}, {entry['ci95'][1]:.4f}]"

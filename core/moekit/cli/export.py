"""`moekit export`: a trained kit as a graph for ONNX Runtime or OpenVINO."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from moekit.cli.options import (
    batch_option,
    command_line,
    data_option,
    debug_option,
    form_option,
    json_option,
    run_option,
    weights_option,
    with_options,
)
from moekit.cli.output import Reporter, print_json, reporter, say


@click.command()
@click.argument("kit")
@with_options(
    run_option,
    data_option,
    click.option(
        "--format",
        "format_",
        type=click.Choice(["onnx", "openvino"]),
        default="openvino",
        show_default=True,
        help="Of the graph.",
    ),
    click.option("--int8", is_flag=True, help="Quantise it; OpenVINO alone."),
    click.option(
        "--max-loss",
        type=click.FloatRange(0, 1),
        metavar="LOSS",
        help="Greatest loss of AUROC by --int8 on the validation split, .008 where not given; "
        "without both classes of rank correlation, .05.",
    ),
    click.option(
        "--out",
        type=click.Path(path_type=Path, file_okay=False),
        help="The folder to make; RUN/export/FORMAT[-int8] where not given.",
    ),
    batch_option,
    weights_option,
    form_option,
    json_option,
    debug_option,
)
def export(kit: str, as_json: bool, **options: Any) -> None:
    """Write a trained KIT as a graph that gives the same scores and maps.

    It takes any number of images at once. It is compared with the kit on images of the validation
    split and is not written if it differs. The data are those that the run was adapted on: int8 is
    calibrated on the training split, and thresholds come from the graph's own scores of the
    validation split.
    """
    with reporter() as report:
        record, folder = run_export(kit, report=report, **options)
    if as_json:
        print_json(record)
    else:
        show_export(record, folder)


def run_export(
    kit: str,
    *,
    run_folder: Path,
    data: str,
    report: Reporter,
    format_: str = "openvino",
    int8: bool = False,
    max_loss: float | None = None,
    out: Path | None = None,
    batch_size: int = 16,
    weights: str = "auto",
    form: str = "auto",
) -> tuple[dict[str, Any], Path]:
    """Exports a run; returns the content of export.json and the folder.

    Raises:
        MoekitError: See `moekit.export.export.export`.
    """
    from moekit.cli.session import open_backbone
    from moekit.errors import UsageError
    from moekit.evaluation.evaluate import load_predictor, preprocess_of
    from moekit.export.export import ExportTask
    from moekit.export.export import export as write
    from moekit.plugins.changes import kit_of_run
    from moekit.plugins.registry import Registry
    from moekit.runs.run import Run

    if max_loss is not None and not int8:
        raise UsageError(
            "there is nothing to lose without --int8",
            whose="--max-loss",
            fix="give --int8 too, or leave it out",
        )
    run = Run(run_folder)
    record = run.read_finished()
    registry = Registry()
    spec = kit_of_run(registry, kit, record)
    dataset = registry.load_dataset(data, seed=record["request"]["seed"])
    folder = out or run_folder / "export" / (f"{format_}-int8" if int8 else format_)
    task = ExportTask(
        run=run,
        dataset=dataset,
        out=folder,
        format="onnx" if format_ == "onnx" else "openvino",
        int8=int8,
        max_loss=max_loss,
        batch_size=batch_size,
        command=command_line(),
    )
    backbone = open_backbone(
        device="cpu",
        weights=weights,
        architecture=record["backbone"]["architecture"],
        form=form,
    )
    predictor = load_predictor(
        run, spec, backbone=backbone, registry=registry, with_baseline=False, precision="fp32"
    )
    preprocess = preprocess_of(run, backbone)
    return write(
        task, predictor=predictor, preprocess=preprocess, on_progress=report.update
    ), folder


def show_export(record: dict[str, Any], folder: Path) -> None:
    """What was checked, one fact a line."""
    parity = record["parity"]
    maps = "no maps" if parity["map"] is None else f"maps by {parity['map']:.1g}"
    say(
        f"{parity['n']} images in batches of {', '.join(map(str, parity['batches']))}: scores "
        f"differ from the kit by at most {parity['score']:.1g}, {maps}"
    )
    if "quantisation" in record:
        accuracy = record["quantisation"]["accuracy"]
        interval = accuracy["ci95"]
        told = "" if interval is None else f" [{interval[0]:+.4f}, {interval[1]:+.4f}]"
        say(
            f"int8: {accuracy['measure']} {accuracy['int8']:.4f} beside {accuracy['fp32']:.4f} in "
            f"float32, loss {accuracy['loss']:+.4f}{told} on {accuracy['n']} validation images"
        )
    say(f"the export is in {folder}")
    if record["caution"]:
        say(record["caution"])

"""`moekit export`: a trained kit as a graph for ONNX Runtime or OpenVINO."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from moekit.cli.imports import quick_imports
from moekit.cli.options import (
    batch_option,
    command_line,
    data_option,
    debug_option,
    examples,
    form_option,
    json_option,
    run_option,
    use_option,
    weights_option,
    with_options,
)
from moekit.cli.output import ProgressDisplay, print_json, reporter, say


@click.command(
    epilog=examples(
        "moekit export KIT --run runs/parts --data folder=parts --int8",
        "moekit export KIT --run runs/types --data folder=parts --int8 "
        "--prefix runs/parts/export/openvino-int8-split",
    )
)
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
    click.option("--int8", is_flag=True, help="Quantise it; OpenVINO only."),
    click.option(
        "--max-loss",
        type=click.FloatRange(0, 1),
        metavar="LOSS",
        help="Greatest loss of AUROC by --int8 on the validation split, .008 if not given; "
        "without both classes of rank correlation, .05.",
    ),
    click.option(
        "--allow-slower",
        is_flag=True,
        help="Write an int8 graph even if it is no faster than float32 on this machine.",
    ),
    click.option(
        "--out",
        type=click.Path(path_type=Path, file_okay=False),
        help="The folder to make; RUN/export/FORMAT[-int8][-split] if not given.",
    ),
    click.option(
        "--split",
        is_flag=True,
        help="Write two graphs: the blocks before the kit's own, and the kit's own.",
    ),
    click.option(
        "--prefix",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="FOLDER",
        help="Take the first graph of this split export, so that both kits share it.",
    ),
    use_option,
    batch_option,
    weights_option,
    form_option,
    json_option,
    debug_option,
)
def export(kit: str, as_json: bool, **options: Any) -> None:
    """Write a trained KIT as a graph that gives the same scores and maps.

    It takes any number of images at once. It is compared with the kit on images of the validation
    split. Nothing is written if it differs, or if int8 is not faster than float32 here. The data
    are those that the run was adapted on. int8 is calibrated on the training split. Thresholds come
    from the graph's own scores of the validation split.
    """
    with reporter() as progress:
        record, folder = run_export(kit, progress=progress, **options)
    if as_json:
        print_json(record)
    else:
        show_export(record, folder)


def run_export(
    kit: str, *, progress: ProgressDisplay, **options: Any
) -> tuple[dict[str, Any], Path]:
    """Exports a run with progress on the terminal; options as of `export_run`."""
    with quick_imports(progress.update):
        from moekit.jobs.export import export_run

    return export_run(kit, on_progress=progress.update, command=command_line(), **options)


def show_export(record: dict[str, Any], folder: Path) -> None:
    """What was checked, one fact a line."""
    parity = record["parity"]
    told = ", ".join(
        f"{name.rpartition('_')[0]} by {one['greatest']:.1g}"
        for name, one in parity["fields"].items()
    )
    say(
        f"{parity['n']} images in batches of {', '.join(map(str, parity['batches']))}: the graph "
        f"differs from the kit by at most: {told}"
    )
    if split := record.get("split"):
        one = split["prefix"]
        parts = ", ".join(
            f"{name} by {max(field['greatest'] for field in part['fields'].values()):.1g}"
            for name, part in parity["parts"].items()
        )
        say(f"two graphs, which differ by at most: {parts} (tokens as shares of the largest)")
        say(f"the first {one['blocks']} blocks are the prefix {one['sha256'][:12]}")
    if "quantisation" in record:
        accuracy = record["quantisation"]["accuracy"]
        interval = accuracy["ci95"]
        told = "" if interval is None else f" [{interval[0]:+.4f}, {interval[1]:+.4f}]"
        say(
            f"int8: {accuracy['measure']} {accuracy['int8']:.4f}, in float32 "
            f"{accuracy['fp32']:.4f}, loss {accuracy['loss']:+.4f}{told} on {accuracy['n']} "
            f"validation images; {record['quantisation']['speed']['ratio']:.2f} times as fast here"
        )
    for sentence in record["validation"].get("point_in_words", ()):
        say(sentence)
    if record.get("use", "specialist") != "specialist":
        say(f"the graph holds the {record['use']}, which answers in this run")
    say(f"the export is in {folder}")
    if record["caution"]:
        say(record["caution"])
    if record["licences"]["remarks"]:
        say(record["licences"]["remarks"])

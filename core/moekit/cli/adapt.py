"""`moekit adapt`: train a kit's specialists, gate and head."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from moekit.cli.imports import quick_imports
from moekit.cli.options import (
    cache_option,
    command_line,
    data_licence_option,
    data_option,
    debug_option,
    device_option,
    devices_option,
    duplicates_option,
    examples,
    expert_option,
    form_option,
    gate_option,
    json_option,
    metric_option,
    seed_option,
    task_option,
    token_block_option,
    token_window_option,
    top_k_option,
    weights_option,
    with_options,
)
from moekit.cli.output import ProgressDisplay, print_json, reporter, say, say_next
from moekit.text import many


def _budget(context: click.Context, option: click.Parameter, value: str) -> str | float:
    """`auto`, or a share above 0 and at most 1."""
    if value == "auto":
        return value
    share: float = click.FloatRange(0, 1, min_open=True)(value, option, context)
    return share


@click.command(
    epilog=examples(
        "moekit adapt KIT --data folder=parts --out runs/parts",
        "moekit adapt KIT --task segment --data masks=tiles --out runs/outlines",
        "moekit adapt KIT --data folder=parts --out runs/parts --resume",
        "moekit adapt KIT --from runs/parts --data corrections=corrections "
        "--also-data folder=parts --out runs/parts-2",
    )
)
@click.argument("kit")
@with_options(
    data_option,
    data_licence_option,
    click.option(
        "--also-data",
        multiple=True,
        metavar="LOADER[=PATH]",
        help="Further data, such as what a run was trained on; may be given several times.",
    ),
    click.option(
        "--out",
        "run_folder",
        required=True,
        type=click.Path(path_type=Path, file_okay=False),
        help="The run folder to make.",
    ),
    task_option,
    metric_option,
    duplicates_option,
    seed_option,
    click.option(
        "--from",
        "start",
        type=click.Path(path_type=Path, file_okay=False),
        help="A finished run of KIT to begin with, such as one to add new images to; or what "
        "`moekit pretrain KIT` made.",
    ),
    click.option(
        "--threshold-rule",
        metavar="RULE",
        help="How the point is chosen on validation data, see `moekit evaluate`; it is kept with "
        "the run. The kit's own rule if not given.",
    ),
    click.option(
        "--group-near-duplicates",
        is_flag=True,
        help="Make near-duplicates groups before the split is dealt, so that none lies on two "
        "sides; nothing is moved if the data bring their split.",
    ),
    click.option("--resume", is_flag=True, help="Go on with an interrupted run."),
    expert_option,
    gate_option,
    click.option(
        "--placement",
        type=click.Choice(["trunk", "side", "none"]),
        help="Where the specialists act, instead of the kit's place: trunk, in the backbone's "
        "tokens; side, next to them, so that kits share all blocks; none, a head only.",
    ),
    click.option(
        "--epochs",
        type=click.IntRange(1),
        help="Epochs of the kit and of its baseline, instead of the recipe's.",
    ),
    click.option("--views", type=click.IntRange(1, 8), help="Views of each training image kept."),
    click.option(
        "--head-members",
        type=click.IntRange(1, 16),
        help="Small networks that begin differently and answer by their mean; only heads that can "
        "have several, as those of the task score.",
    ),
    click.option("--image-size", type=click.IntRange(14), help="Side of the input, in pixels."),
    click.option(
        "--tile",
        type=click.IntRange(14),
        help="Cut larger pictures into windows of that many of their pixels.",
    ),
    click.option(
        "--tile-flat",
        type=click.IntRange(0, 255),
        metavar="LEVELS",
        help="Windows whose channels vary by at most that many of 255 levels are computed once for "
        "each colour of a picture; 0 if not given.",
    ),
    click.option(
        "--bits",
        type=click.IntRange(8, 16),
        help="Bits of the numbers in files of more than 8 bits, such as 12 of 16; kept with the "
        "run.",
    ),
    click.option("--precision", type=click.Choice(["auto", "fp32", "bf16"]), help="Arithmetic."),
    click.option(
        "--budget",
        callback=_budget,
        metavar="auto|SHARE",
        default="1.0",
        show_default=True,
        help="Greatest share of the dense backbone's arithmetic, such as 0.5, met by computing "
        "fewer tokens; auto takes the fastest way that keeps the headline on validation data.",
    ),
    click.option(
        "--token-share",
        type=click.FloatRange(0, 1, min_open=True),
        help="Share of the patches that the blocks before the kit's own compute one by one; the "
        "others are computed by windows. All if not given.",
    ),
    click.option(
        "--token-gate",
        help="What says which patches these are, of `moekit gates`: texture if not given; learned "
        "is trained in the run.",
    ),
    token_block_option,
    token_window_option,
    top_k_option,
    click.option(
        "--architecture", default=None, help="A timm vision transformer; the kit's backbone if not."
    ),
    weights_option,
    form_option,
    device_option,
    devices_option,
    cache_option,
    json_option,
    debug_option,
)
def adapt(kit: str, data: str, run_folder: Path, as_json: bool, **options: Any) -> None:
    """Train the specialists, router rows and head of KIT; the backbone stays as it is.

    The same head is trained on the bare backbone too, as the baseline that a report shows.
    """
    with reporter() as progress:
        record = run_adaptation(kit, data=data, run_folder=run_folder, progress=progress, **options)
    if record is None:
        return
    if as_json:
        print_json(record)
    else:
        training, trained = record["training"]["kit"], record["parameters"]["trained"]
        what = (
            f"trained {trained:,} parameters in {training['epochs']} epochs, of which number "
            f"{training['best_epoch']} was the best and is kept, and"
            if trained
            else f"learned from {record['images']['train']:,} images in"
        )
        say(f"{what} {training['seconds']:.0f} s; the run is in {run_folder}")
        if record.get("activations_made_again"):
            say(
                f"{record['activations_made_again']} stored activations were damaged or gone; they "
                "were computed again"
            )
        for sentence in kept_in_words(record):
            say(sentence)
        for sentence in (record.get(AGAINST) or {}).get("in_words", ()):
            say(sentence)
        if (record.get("licences") or {}).get("remarks"):
            say(record["licences"]["remarks"])
        if record["skipped"]:
            say(f"{many(len(record['skipped']), 'input', 'inputs')} skipped; run.json says which")
        say_next("evaluate", kit, "--data", data, "--run", run_folder)


AGAINST = "against_start"
"""Where run.json says whether the run replaces the one that it began with."""


def kept_in_words(record: Mapping[str, Any]) -> list[str]:
    """What the run keeps: the point with its rule, and which of its models answers."""
    told = list((record.get("point") or {}).get("in_words", ()))
    use = record.get("use")
    if use:
        told.append(f"the {use['model']} answers, by the rule: {use['rule']}")
        told.append(use["in_words"])
    return told


_RECIPE = (
    "epochs",
    "views",
    "head_members",
    "image_size",
    "tile",
    "tile_flat",
    "bits",
    "precision",
    "token_share",
    "token_gate",
    "token_block",
    "token_window",
)


def run_adaptation(
    kit: str, *, progress: ProgressDisplay, recipe: Mapping[str, Any] | None = None, **options: Any
) -> dict[str, Any] | None:
    """Adapts a kit with progress on the terminal; options as of `adapt_kit`.

    Args:
        kit: Name of the kit.
        progress: Shows the progress.
        recipe: Fields of the recipe that are changed, besides those of the command's options.
        options: The command's options.
    """
    with quick_imports(progress.update):
        from moekit.jobs.adapt import adapt_kit

    options["rule"] = options.pop("threshold_rule", None)
    given = {name: options.pop(name, None) for name in _RECIPE}
    given["baseline_epochs"] = given["epochs"]  # neither is compared after a longer training
    changed = {name: value for name, value in given.items() if value is not None}
    if changed.get("token_window") == 0:
        changed["token_window"] = None
    return adapt_kit(
        kit,
        recipe={**(recipe or {}), **changed},
        on_progress=progress.update,
        on_epoch=lambda part, figures: progress.line(_in_words(part, figures)),
        on_task=lambda task: progress.line(f"task: {task.rpartition('/')[2]}"),
        on_tile=lambda tile: progress.line(f"larger pictures are cut: windows of {tile} pixels"),
        on_note=progress.line,
        command=command_line(),
        **options,
    )


_EPOCH = {
    "train_loss": "training loss {:.4f}",
    "val_loss": "validation loss {:.4f}",
    "lr": "",
    "epoch": "",
    "seconds": "",
}


def _said(name: str) -> str:
    return name.replace("val_", "validation ")


def _in_words(part: str, figures: Mapping[str, float]) -> str:
    """A line on an epoch; figures of a kit that trains in its own way are printed as they are."""
    told = [
        f"{_said(name)} undefined, since the validation split cannot tell it"
        if math.isnan(value) and name.startswith("val_")
        else _EPOCH.get(name, f"{_said(name)} {{:.6g}}").format(value)
        for name, value in figures.items()
    ]
    return f"{part} epoch {figures['epoch']:.0f}: {', '.join(text for text in told if text)}"

"""`moekit pretrain`: teach a kit's specialists, or a whole backbone, without labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from moekit.cli.imports import quick_imports
from moekit.cli.options import (
    cache_option,
    command_line,
    data_licence_option,
    debug_option,
    device_option,
    devices_option,
    examples,
    expert_option,
    form_option,
    gate_option,
    json_option,
    precision_option,
    seed_option,
    task_option,
    top_k_option,
    weights_option,
    with_options,
)
from moekit.cli.output import ProgressDisplay, print_json, reporter, say
from moekit.errors import UsageError

TIER = "base"
_RECIPE = ("objective", "limit", "epochs", "batch_size", "rate", "image_size", "views", "precision")
_OF_KIT = ("task", "experts", "gate", "top_k", "views", "form", "cache_gib")
_OF_TIER = ("twin", "blocks", "expert_axis")


@click.command(
    epilog=examples(
        "moekit pretrain KIT --data photos/ --out parts-pretrained",
        "moekit pretrain KIT --data folder=parts --out parts-pretrained",
        "moekit adapt KIT --data folder=parts --from parts-pretrained --out runs/parts",
        "moekit pretrain --architecture base --twin --data photos/ --out twin --devices 2",
    )
)
@click.argument("kit", required=False)
@with_options(
    click.option(
        "--data",
        required=True,
        metavar="FOLDER|LOADER[=PATH]",
        help="A folder of images, all of which are learned from; or data as of `moekit adapt`, of "
        "which the training split is. Labels are for the curves only.",
    ),
    data_licence_option,
    click.option(
        "--out",
        required=True,
        type=click.Path(path_type=Path, file_okay=False),
        help="The folder to make.",
    ),
    task_option,
    seed_option,
    click.option("--resume", is_flag=True, help="Go on with an interrupted pretraining."),
    click.option(
        "--objective",
        type=click.Choice(["self-distillation", "masked-features"]),
        help="Foretell the frozen model's features of what is hidden, which is the default for a "
        "KIT; or follow an averaged copy of itself over views of an image.",
    ),
    click.option(
        "--limit", type=click.IntRange(2), help="Most images learned from, evenly spread."
    ),
    click.option("--epochs", type=click.IntRange(1), help="Passes over the images.  [default: 20]"),
    click.option("--batch-size", type=click.IntRange(2), help="Images a step.  [default: 64]"),
    click.option(
        "--rate",
        type=click.FloatRange(0, min_open=True),
        help="Peak rate of what is kept.  [default: 0.0005]",
    ),
    click.option(
        "--image-size", type=click.IntRange(14), help="Side of the input; the kit's if not given."
    ),
    click.option(
        "--views", type=click.IntRange(1, 8), help="Flips and turns kept of a crop.  [default: 2]"
    ),
    precision_option,
    expert_option,
    gate_option,
    top_k_option,
    click.option(
        "--architecture",
        help="A timm vision transformer; or base, without KIT: the base tier, all of it, from "
        "random weights.",
    ),
    click.option("--twin", is_flag=True, help="Of the base tier its narrow twin."),
    click.option("--blocks", type=click.IntRange(1), help="Blocks of the base tier.  [128]"),
    click.option(
        "--expert-axis",
        type=click.IntRange(1),
        help="Processes that the base tier's experts are spread over.  [default: 1]",
    ),
    weights_option,
    form_option,
    device_option,
    devices_option,
    cache_option,
    json_option,
    debug_option,
)
def pretrain(kit: str | None, out: Path, as_json: bool, **options: Any) -> None:
    """Teach the specialists of KIT from images without labels; the backbone stays as it is.

    `moekit adapt KIT --from OUT` begins with them. Images of the validation and test splits are
    not looked at; `evaluate` says if one of its images was learned from all the same.
    """
    check_options(kit, options)
    with reporter() as report:
        run = run_pretraining if kit is not None else run_backbone
        record = run(kit, out=out, report=report, **options)
    if record is None:
        return
    if as_json:
        print_json(record)
        return
    first, last = record["curves"][0], record["curves"][-1]
    say(f"pretrained on {record['images']:,} images in {record['seconds']:.0f} s; it is in {out}")
    say(f"effective rank of the features: {first['rank']:.1f}, then {last['rank']:.1f}")
    if "probe" in last:
        say(f"linear probe on validation data: {first['probe']:.4f}, then {last['probe']:.4f}")
    for note in record["notes"]:
        say(note)
    if (record.get("licences") or {}).get("remarks"):
        say(record["licences"]["remarks"])


def check_options(kit: str | None, options: Mapping[str, Any]) -> None:
    """Refuses options that mean nothing next to each other.

    Raises:
        UsageError: There are such options.
    """
    whole = options["architecture"] == TIER
    if whole == (kit is not None):
        raise UsageError(
            "a kit and the base tier are named" if whole else "no kit is named",
            whose="moekit pretrain",
            fix="name a KIT, or give --architecture base without one",
            code="usage/one-of-two",
        )
    context = click.get_current_context()
    given = {
        name
        for name in (*_OF_KIT, *_OF_TIER, "weights")
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    }
    wrong = given & ({*_OF_KIT, "weights"} if whole else {*_OF_TIER})
    if wrong:
        names = ", ".join("--" + name.removesuffix("s").replace("_", "-") for name in sorted(wrong))
        raise UsageError(
            f"{names} means nothing {'with' if whole else 'without'} the base tier",
            whose="moekit pretrain",
            fix="leave it out" if whole else "leave it out, or give --architecture base",
            code="usage/option-conflict",
        )


def run_pretraining(
    kit: str | None, *, report: ProgressDisplay, **options: Any
) -> dict[str, Any] | None:
    """Pretrains a kit's specialists with progress on the terminal; options as of `pretrain_kit`."""
    with quick_imports(report.update):
        from moekit.jobs.pretrain import pretrain_kit

    for name in _OF_TIER:
        options.pop(name, None)
    return pretrain_kit(
        kit or "",
        recipe=_recipe(options),
        on_progress=report.update,
        on_figures=lambda figures: report.line(told(figures)),
        on_note=report.line,
        command=command_line(),
        **options,
    )


def run_backbone(
    _kit: str | None, *, report: ProgressDisplay, **options: Any
) -> dict[str, Any] | None:
    """Trains the base tier with progress on the terminal; options as of `pretrain_tier`."""
    with quick_imports(report.update):
        from moekit.jobs.pretrain_tier import pretrain_tier

    recipe = _recipe(options)
    for name in (*_OF_KIT, "weights", "architecture"):
        options.pop(name, None)
    return pretrain_tier(
        recipe=recipe,
        on_progress=report.update,
        on_figures=lambda figures: report.line(told(figures)),
        on_note=report.line,
        command=command_line(),
        **options,
    )


def told(figures: Mapping[str, float]) -> str:
    """A line on a judgement of the features."""
    parts = [f"epoch {figures['epoch']:.1f}"]
    words = {"loss": "loss", "rank": "effective rank", "probe": "probe", "neighbours": "neighbours"}
    parts += [f"{word} {figures[name]:.4g}" for name, word in words.items() if name in figures]
    return ", ".join(parts)


def _recipe(options: dict[str, Any]) -> dict[str, Any]:
    """The fields of the recipe that are given, taken out of the options."""
    given = {name: options.pop(name, None) for name in _RECIPE}
    return {name: value for name, value in given.items() if value is not None}

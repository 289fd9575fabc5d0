"""`moekit merge`: one run from the runs of several sites, without their data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from moekit.cli.adapt import kept_in_words
from moekit.cli.imports import quick_imports
from moekit.cli.options import (
    batch_option,
    command_line,
    data_licence_option,
    data_option,
    debug_option,
    device_option,
    examples,
    form_option,
    json_option,
    weights_option,
    with_options,
)
from moekit.cli.output import ProgressDisplay, print_json, print_table, reporter, say


@click.command(
    epilog=examples(
        "moekit merge site-a/run site-b/run --data folder=held-out --out runs/merged",
        "moekit merge site-a/run site-b/run --by route --data folder=held-out --out runs/both",
    )
)
@click.argument(
    "run_folders",
    metavar="RUN...",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
)
@with_options(
    data_option,
    data_licence_option,
    click.option(
        "--out",
        required=True,
        type=click.Path(path_type=Path, file_okay=False),
        help="The run folder to make.",
    ),
    click.option(
        "--by",
        type=click.Choice(["average", "route"]),
        default="average",
        show_default=True,
        help="average: the mean of the weights, of runs that began alike. route: the specialists "
        "of all runs in one, with all their router rows and heads.",
    ),
    click.option(
        "--weigh",
        type=click.Choice(["images", "equal"]),
        default="images",
        show_default=True,
        help="What a run counts in the mean: by its training images, or all alike.",
    ),
    click.option(
        "--leave-out-unfit",
        "leave_out",
        is_flag=True,
        help="Leave out runs that are broken or do not fit; else they are refused by name.",
    ),
    click.option(
        "--accept-anyway",
        "anyway",
        is_flag=True,
        help="Keep the merged run even if it is proven worse than the best of its runs.",
    ),
    click.option(
        "--threshold-rule",
        metavar="RULE",
        help="How the point is chosen on the validation split, see `moekit evaluate`; it is kept "
        "with the run. The kit's own rule if not given.",
    ),
    batch_option,
    weights_option,
    form_option,
    device_option,
    json_option,
    debug_option,
)
def merge(run_folders: tuple[Path, ...], out: Path, as_json: bool, **options: Any) -> int:
    """Merge RUNs of one kit, made by several sites on data that stay there.

    A site sends run.json, kit.safetensors and baseline.safetensors. The merged run is compared with
    each of them on the validation split of --data, which no site has trained on, and kept unless it
    is proven worse than the best; its threshold comes from the same split.
    """
    with reporter() as progress:
        judged = run_merge(run_folders, out=out, progress=progress, **options)
    if as_json:
        print_json(judged)
    else:
        show_merge(judged, out)
    return 0 if judged["kept"] else 1


def run_merge(
    run_folders: tuple[Path, ...], *, progress: ProgressDisplay, **options: Any
) -> dict[str, Any]:
    """Merges runs with progress on the terminal; options as of `merge_runs`."""
    with quick_imports(progress.update):
        from moekit.jobs.merge import merge_runs

    rule = options.pop("threshold_rule", None)
    return merge_runs(
        run_folders, rule=rule, on_progress=progress.update, command=command_line(), **options
    )


def show_merge(judged: dict[str, Any], out: Path) -> None:
    """The sites and the merged run as a table, and in words what was decided."""
    metric, values = judged["metric"] or "no metric", judged.get("values", {})
    rows = [
        [
            one["name"],
            f"{one['images']:,}",
            f"{one['weight']:.3f}",
            f"{one['bytes'] / 1e6:.1f} MB, {one['share_of_backbone']:.1%} of the backbone",
            _figure(values.get(one["name"])),
        ]
        for one in judged["sites"]
    ]
    rows.append(["merged", "", "", "", _figure(values.get("merged"))])
    columns = ("run", "training images", "weight", "sent", f"{metric} [95% interval]")
    print_table(f"merged by {judged['by']}, judged on the validation split", columns, rows)
    told = [f"left out: {one['name']}: {one['why']}" for one in judged["left_out"]]
    told += [*judged["in_words"], f"rule: {judged['rule']}", *judged["notes"]]
    record = judged.get("record")
    if record is None:
        told.append(
            f"it is not kept; {out}/merge.json says how it was judged. Pass --accept-anyway to "
            "keep it"
        )
    else:
        told += kept_in_words(record)
        if record["licences"]["remarks"]:
            told.append(record["licences"]["remarks"])
        if judged["accepted"] is not True:
            told.append("it is not accepted and is kept because of --accept-anyway")
        told.append(f"the merged run is in {out}")
    for sentence in told:
        say(sentence)


def _figure(entry: dict[str, Any] | None) -> str:
    if entry is None:
        return "undefined"
    interval = entry["ci95"]
    told = f"{entry['value']:.4f}"
    return told if interval is None else f"{told} [{interval[0]:.4f}, {interval[1]:.4f}]"

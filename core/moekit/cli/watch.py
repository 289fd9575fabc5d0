"""`moekit watch`: answer images as they arrive in a folder, for days."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import click

from moekit.cli.imports import quick_imports
from moekit.cli.options import (
    backend_option,
    debug_option,
    device_option,
    examples,
    form_option,
    json_option,
    precision_option,
    review_option,
    rule_option,
    run_option,
    use_option,
    weights_option,
    with_options,
)
from moekit.cli.output import print_json, say

_feed_options = with_options(
    click.option(
        "--batch-size",
        type=click.IntRange(1, 4096),
        default=1,
        show_default=True,
        help="Most images a forward pass; it never waits for more than are there.",
    ),
    click.option(
        "--queue",
        type=click.IntRange(1, 4096),
        default=32,
        show_default=True,
        help="Most images read ahead of the scoring.",
    ),
    click.option(
        "--settle",
        type=click.FloatRange(0, 3600),
        default=0.5,
        show_default=True,
        metavar="SECONDS",
        help="A file is whole once it has not changed for so long.",
    ),
    click.option(
        "--tries",
        type=click.IntRange(1, 20),
        default=5,
        show_default=True,
        help="Readings of a file until it counts as unreadable; each waits twice as long.",
    ),
    click.option("--once", is_flag=True, help="Score what is there and end."),
    click.option(
        "--idle",
        type=click.FloatRange(0, min_open=True),
        metavar="SECONDS",
        help="End after so long without a new image.",
    ),
)
_output_options = with_options(
    click.option(
        "--overlays",
        type=click.Choice(["all", "rejected", "none"]),
        default="rejected",
        show_default=True,
        help="Heatmaps of which images; rejected ones are all that are not passed.",
    ),
    click.option(
        "--keep",
        type=click.IntRange(0),
        default=10_000,
        show_default=True,
        help="Most heatmaps kept; the oldest go first.",
    ),
)
_check_options = with_options(
    click.option(
        "--golden",
        type=click.Path(path_type=Path, file_okay=False, exists=True),
        metavar="FOLDER",
        help="Fixed images whose scores must stay the same from start to start.",
    ),
    click.option(
        "--golden-every",
        type=click.IntRange(1),
        metavar="N",
        help="Score them after every N images too.",
    ),
    click.option(
        "--golden-tolerance",
        type=click.FloatRange(0, 1),
        default=1e-4,
        show_default=True,
        help="Largest difference of their scores that is no failure.",
    ),
    click.option(
        "--reference",
        type=click.Choice(["validation", "line"]),
        default="validation",
        show_default=True,
        help="What the last 200 scores are compared with: the run's validation images that are "
        "no positives, or the line's first 200.",
    ),
)


@click.command(
    epilog=examples(
        "moekit watch KIT camera/ --run runs/parts --out line --golden golden/",
    )
)
@click.argument("kit")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@with_options(
    run_option,
    click.option(
        "--out",
        required=True,
        type=click.Path(path_type=Path, file_okay=False),
        help="Folder for results.jsonl, summary.json and the heatmaps.",
    ),
    rule_option,
    use_option,
    review_option,
    _feed_options,
    _output_options,
    _check_options,
    backend_option,
    precision_option,
    weights_option,
    form_option,
    device_option,
    json_option,
    debug_option,
)
def watch(kit: str, folder: Path, as_json: bool, **options: Any) -> None:
    """Score images with a trained KIT as they arrive in FOLDER, at any depth.

    Ctrl-C or SIGTERM ends it after the image in hand. The same command goes on: no image is scored
    twice. An image is known by its content: another one of the same name is scored again.
    """
    with stopped_by_signals() as stop, contextlib.redirect_stdout(sys.stderr):
        summary = run_watch(kit, folder=folder, stop=stop, **options)
    if as_json:
        print_json(summary)
    else:
        show_summary(summary)


_HOW = ("use", "review", "precision", "weights", "form", "device", "backend")


def run_watch(kit: str, *, threshold_rule: str | None = None, **options: Any) -> dict[str, Any]:
    """Watches a folder; returns the content of summary.json. Options as of `watch_folder`."""
    with quick_imports():
        from moekit.jobs.trained import Opening
        from moekit.jobs.watch import watch_folder

    how = {name: options.pop(name) for name in _HOW if name in options}
    return watch_folder(kit, how=Opening(rule=threshold_rule, **how), tell=say, **options)


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[threading.Event]:
    """Yields an event that SIGINT and SIGTERM set; a second SIGINT stops at once."""
    stop = threading.Event()

    def handle(number: int, _frame: FrameType | None) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def show_summary(summary: dict[str, Any]) -> None:
    """What was done, one fact a line."""
    told = ", ".join(f"{count} {name}" for name, count in summary["verdicts"].items())
    say(f"{summary['n']} images: {told or 'none'}; ended: {summary['state']}")
    if summary["again"]:
        say(f"{summary['again']} of them had a row of another content under the same name")
    session = summary["session"]
    say(f"since this start: {session['n']} images, {session['images_per_s']:.2f} a second")
    named = {
        "from whole file to row": summary["latency_s"],
        "forward pass": summary["scoring_s"],
    }
    for name, figures in named.items():
        if figures is not None:
            values = (f"{key} {figures[key] * 1000:.0f} ms" for key in ("p50", "p95", "p99", "max"))
            say(f"{name}: {', '.join(values)} (batch size {session['batch_size']})")
    queue = summary["queue"]
    say(
        f"greatest queue: {queue['greatest']} of {queue['length']}, full {queue['full']} times; at "
        f"most {queue['greatest_backlog']} whole files next to it"
    )
    golden, drift = summary["golden"], summary["drift"]
    if golden is not None:
        greatest = golden["greatest_difference"]
        say(f"golden images: {golden['n']}, scores differ by at most {greatest:.1g}")
    if drift is not None:
        moved = drift["median_shift"]
        shift = "unknown" if moved is None else f"{moved:+.1f} spreads"
        say(f"last {drift['n']} scores: median moved by {shift}, p = {drift['p']:.1g}")
    for sentence in (summary.get("trained on"), summary.get("disclaimer")):
        if sentence:
            say(sentence)

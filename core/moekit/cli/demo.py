"""`moekit demo`: a kit's main job on data that comes with its install."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from moekit.cli.adapt import run_adaptation
from moekit.cli.evaluate import run_evaluation, show_result
from moekit.cli.imports import quick_imports
from moekit.cli.options import (
    debug_option,
    device_option,
    examples,
    json_option,
    seed_option,
    weights_option,
    with_options,
)
from moekit.cli.output import echo, print_json, reporter, say
from moekit.cli.predict import run_prediction


@click.command(
    epilog=examples(
        "moekit demo KIT",
        "moekit demo KIT --full",
    )
)
@click.argument("kit")
@with_options(
    click.option(
        "--data",
        metavar="LOADER[=PATH]",
        help="Other data than the kit's demonstration, such as folder=PATH.",
    ),
    click.option(
        "--out",
        type=click.Path(path_type=Path, file_okay=False),
        default=None,
        help="The run folder; runs/demo-KIT if not given, with -LOADER for other data and -full "
        "for the full recipe.",
    ),
    click.option(
        "--full",
        is_flag=True,
        help="Train by the kit's own recipe, not by the short one of its demonstration.",
    ),
    seed_option,
    weights_option,
    device_option,
    json_option,
    debug_option,
)
def demo(
    kit: str,
    data: str | None,
    out: Path | None,
    full: bool,
    seed: int,
    weights: str,
    device: str,
    as_json: bool,
) -> None:
    """Adapt KIT to its demonstration data, evaluate it, write the report and predict.

    The training is real but short, so that a first result comes within minutes; --full trains as
    `moekit adapt` does. The inputs to predict are those that the kit brings for its own
    demonstration data; other data have none. An interrupted demonstration goes on where it
    stopped; a finished one is evaluated again.
    """
    predicted: dict[str, dict[str, Any]] = {}
    with reporter() as progress:
        with quick_imports(progress.update):
            from moekit.plugins.registry import Registry
            from moekit.report.report import render_report
            from moekit.runs.run import Run

            spec = Registry().kit(kit)
        short = {} if full or data is not None else spec.demo_recipe
        run_folder = out or Path("runs") / _folder_name(spec.name, data, full=full)
        make_inputs = spec.demo_inputs if data is None else None
        steps = _Steps(3 if make_inputs is None else 4)
        progress.line(steps.next("learn from the training images"))
        run_adaptation(
            kit,
            data=data or spec.demo_dataset,
            run_folder=run_folder,
            progress=progress,
            seed=seed,
            resume=True,
            weights=weights,
            device=device,
            recipe=short,
        )
        progress.line(steps.next("answer images that it has not seen"))
        result = run_evaluation(
            kit,
            data=data or spec.demo_dataset,
            run_folder=run_folder,
            progress=progress,
            weights=weights,
            device=device,
        )
        progress.line(steps.next("write the report"))
        path = render_report(run_folder, on_progress=progress.update)
        if make_inputs is not None:
            progress.line(steps.next("answer inputs as a user has them"))
            for name, source in make_inputs(run_folder / "demo_inputs").items():
                predicted[name] = run_prediction(
                    kit,
                    inputs=(source,),
                    run_folder=run_folder,
                    out=run_folder / "predicted" / name,
                    progress=progress,
                    weights=weights,
                    device=device,
                )
    closing = closing_words(result, Run(run_folder).read().get("use"))
    if as_json:
        print_json({**result, "report": str(path), "predicted": predicted, "closing": closing})
        return
    for name, summary in predicted.items():
        _show_counts(name, summary, run_folder / "predicted" / name)
    show_result(result)
    for sentence in (*closing, *_what_next(kit, path, short)):
        echo(sentence)


def closing_words(result: Mapping[str, Any], use: Mapping[str, Any] | None) -> list[str]:
    """Whether the specialist helped, and which model `predict` answers by.

    Args:
        result: Of the evaluation.
        use: What the run says of its choice among its models; None if it made none.

    Returns:
        Sentences; none without a baseline.
    """
    metrics: Mapping[str, Mapping[str, Any]] = result["metrics"]
    name = next(iter(metrics), "")
    own: Mapping[str, Any] = metrics.get(name, {})
    bare = ((result.get("baseline") or {}).get("metrics") or {}).get(name) or {}
    with_it, without = own.get("value"), bare.get("value")
    if with_it is None or without is None:
        return []
    proven = ((result.get("comparison") or {}).get("verdict") or {}).get("proven")
    ahead = with_it - without if own["higher_is_better"] else without - with_it
    helps = "helps" if ahead > 0 else "does not help" if ahead < 0 else "changes nothing"
    if ahead and not proven:
        helps += ", or chance made the difference"
    told = [
        f"On these data the specialist {helps}: {name} is {with_it:.4f} with it and "
        f"{without:.4f} without ({result['baseline']['name']}), on {result['n']} items of the "
        f"{result['split']} split{', which is proven' if proven else ''}."
    ]
    model = (result.get("used") or {}).get("model")
    if model:
        words = {"specialist": "the specialist", "baseline": "the baseline"}
        who = words.get(model, f"the {model} of both")
        why = (use or {}).get("in_words", "")
        told.append(
            f"`moekit predict` answers by {who}, as chosen on validation data only"
            f"{f': {why}' if why else ''}."
        )
    return told


class _Steps:
    """Counts the steps of the demonstration."""

    def __init__(self, count: int) -> None:
        self._count, self._at = count, 0

    def next(self, what: str) -> str:
        """The line before the next step."""
        self._at += 1
        return f"step {self._at} of {self._count}: {what}"


def _what_next(kit: str, report: Path, short: Mapping[str, Any]) -> Iterator[str]:
    """What to open, and what to do next."""
    if short:
        changed = ", ".join(f"{name} {value}" for name, value in short.items())
        yield (
            f"The training was short ({changed}). `moekit demo {kit} --full` trains as "
            "`moekit adapt` does."
        )
    yield f"Open {report} in a browser: what was found, how sure that is, and what next."
    yield f"Next, your own images: moekit adapt {kit} --data folder=IMAGES --out runs/mine"


def _folder_name(kit: str, data: str | None, *, full: bool) -> str:
    loader = "" if data is None else f"-{data.partition('=')[0].replace('/', '-')}"
    return f"demo-{kit}{loader}{'-full' if full else ''}"


def _show_counts(name: str, summary: dict[str, Any], out: Path) -> None:
    """How much of the input became what."""
    counts = ", ".join(f"{key} {value}" for key, value in summary.items() if type(value) is int)
    say(f"predicted {name}: {counts}; see {out}")

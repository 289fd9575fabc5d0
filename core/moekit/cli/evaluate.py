"""`moekit evaluate`: answer a split and write every metric with its interval."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from moekit.cli.imports import quick_imports
from moekit.cli.options import (
    batch_option,
    command_line,
    data_licence_option,
    data_option,
    debug_option,
    device_option,
    duplicates_option,
    examples,
    form_option,
    json_option,
    metric_option,
    run_option,
    seed_option,
    use_option,
    weights_option,
    with_options,
)
from moekit.cli.output import (
    ProgressDisplay,
    echo,
    print_json,
    print_table,
    reporter,
    say,
    say_next,
)
from moekit.text import many


@click.command(
    epilog=examples(
        "moekit evaluate KIT --data folder=parts --run runs/parts",
        "moekit evaluate KIT --data folder=parts --run runs/parts --split val",
    )
)
@click.argument("kit")
@with_options(
    data_option,
    data_licence_option,
    run_option,
    metric_option,
    duplicates_option,
    click.option(
        "--no-near-duplicates",
        "near_duplicates",
        flag_value=False,
        type=bool,
        default=True,
        help="Do not look for near-duplicates of the split among what the run learned from, which "
        "takes half of the time of a small evaluation. The result says that nobody looked.",
    ),
    click.option(
        "--split",
        type=click.Choice(["train", "val", "test"]),
        default="test",
        show_default=True,
        help="The split to answer.",
    ),
    click.option(
        "--threshold-rule",
        metavar="RULE",
        help="How the point is chosen on validation data. Of the task score: accuracy, f1, youden, "
        "max-miss=0.02, max-false-alarm=0.05, tail=0.01, certified-miss=0.02,0.05 or "
        "certified-false-alarm=0.05,0.1. It is kept with the run; the kept one if not given.",
    ),
    use_option,
    click.option(
        "--from",
        "given",
        type=click.Path(path_type=Path, exists=True),
        help="Judge the answers of a peer in place of the run's, in the task's own format (a CSV, "
        "a folder of masks); or those that another run has stored, next to the run's own. They go "
        "to RUN/given.",
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
    """Answer a split of the data with a trained KIT and with its baseline.

    Every metric has a 95% interval; thresholds come from the validation split of the run.
    """
    with reporter() as progress:
        result = run_evaluation(kit, progress=progress, **options)
    if as_json:
        print_json(result)
    else:
        show_result(result)
    kept = [options[name] for name in ("threshold_rule", "use") if options.get(name)]
    if kept and options.get("given") is None:
        say(f"kept with the run, for predict, watch and export: {', '.join(kept)}")
    if not as_json and not result.get("foreign"):
        say_next("report", options["run_folder"])


def run_evaluation(kit: str, *, progress: ProgressDisplay, **options: Any) -> dict[str, Any]:
    """Evaluates a run with progress on the terminal; options as of `evaluate_run`."""
    with quick_imports(progress.update):
        from moekit.jobs.evaluate import evaluate_run

    rule = options.pop("threshold_rule", None)
    return evaluate_run(
        kit, rule=rule, on_progress=progress.update, command=command_line(), **options
    )


def show_result(result: dict[str, Any]) -> None:
    """The metrics as a table, the kit next to its baseline, and in words what matters of them."""
    baseline = result.get("baseline")
    others: list[tuple[str, Any]] = []
    if baseline is not None:
        others.append((baseline["name"], baseline["metrics"]))
    if mean := (result.get("used") or {}).get("metrics"):
        others.append(("mean of both, which answers", mean))
    rows = [
        [
            name,
            _figure(entry),
            *(_figure(figures.get(name)) for _, figures in others),
            "higher" if entry["higher_is_better"] else "lower",
        ]
        for name, entry in result["metrics"].items()
    ]
    print_table(
        f"{result['kit']} on {result['dataset']}, {result['split']} split, n = {result['n']}",
        ("metric [95% interval]", _judged(result), *(who for who, _ in others), "better if"),
        rows,
    )
    told = [
        *result.get("outcome_in_words", ()),
        comparison_in_words(result),
        verdict_in_words(result),
        *result.get("point_in_words", ()),
        (result.get("used") or {}).get("in_words", ""),
    ]
    if result["skipped"]:
        told.append(
            f"{many(len(result['skipped']), 'input', 'inputs')} skipped; result.json says which"
        )
    if result.get("foreign"):
        how = "judged on their own" if result["baseline"] is None else "judged next to the run's"
        told.append(f"answers of {result['from']}, {how}: see {result['folder']}")
    told.append((result.get("licences") or {}).get("remarks", ""))
    for sentence in (*told, *result["notes"], result["data"]["caution"], result["disclaimer"]):
        if sentence:
            echo(sentence)


def _judged(result: dict[str, Any]) -> str:
    """Whose figures stand in the first column."""
    return f"given: {result['from']}" if result.get("foreign") else "specialist"


def verdict_in_words(result: dict[str, Any]) -> str:
    """Which model is better and whether that is proven; empty if nothing was compared."""
    verdict = (result.get("comparison") or {}).get("verdict") or {}
    return str(verdict.get("in_words", ""))


def comparison_in_words(result: dict[str, Any]) -> str:
    """The paired test of kit and baseline in one line; empty if there is none."""
    comparison = result.get("comparison") or {}
    own = f"{comparison.get('metric')}_difference"
    left_out = {"metrics", "verdict", *(("metric",) if own in comparison else ())}
    named = {name: value for name, value in comparison.items() if name not in left_out}
    if not named:
        return ""
    parts = []
    for name, value in named.items():
        if isinstance(value, list):
            parts.append(f"[{value[0]:+.4f}, {value[1]:+.4f}]")
        elif isinstance(value, float):
            sign = "+" if "difference" in name else ""
            parts.append(f"{name.replace('_', ' ')} {value:{sign}.4g}")
        elif isinstance(value, int):
            parts.append(f"{name.replace('_', ' ')} {value}")
        elif value:
            parts.append(str(value))
    pair = "specialist less baseline"
    if result.get("foreign"):
        pair = f"{result['from']} less {result['baseline']['name']}"
    return f"{pair}: " + ", ".join(parts)


def _figure(entry: dict[str, Any] | None) -> str:
    if entry is None or entry["value"] is None:
        return "undefined"
    if entry["ci95"] is None:
        return f"{entry['value']:.4f}"
    return f"{entry['value']:.4f} [{entry['ci95'][0]:.4f}, {entry['ci95'][1]:.4f}]"

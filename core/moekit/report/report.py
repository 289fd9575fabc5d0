"""The report of a run: one self-contained HTML file, made from the files in the run folder."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from moekit.errors import DataError
from moekit.evaluation.bootstrap import Resamples
from moekit.files import atomic_text, read_json
from moekit.plugins.registry import Registry
from moekit.report.run_files import (
    Epoch,
    Shots,
    naming,
    read_history,
    read_predictions,
    read_routing,
    read_shots,
)
from moekit.report.sections import plugin_sections
from moekit.report.svg import Axis, Line, interval_chart, line_chart
from moekit.tasks.score.curves import (
    counts_at,
    precision_recall_band,
    precision_recall_points,
    roc_band,
    roc_points,
    threshold_table,
)
from moekit.tasks.score.predictions import Predictions

LARGEST = 2_000_000
_MARGIN = 20_000
_LONGEST_TEXT = 500
_BAND_RESAMPLES = 300
_UNIT = {"low": 0.0, "high": 1.0}
_KIT, _BARE = "curve-a", "curve-b"
_TURNING = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def render_report(run: Path, *, registry: Registry | None = None) -> Path:
    """Writes RUN/report.html.

    Sections whose file is missing are left out, and the page says which command makes it. Pictures
    are left out, and counted, where the page would pass `LARGEST` bytes.

    Args:
        run: A run folder with result.json.
        registry: Plugins that may add sections; found anew where None.

    Returns:
        The path of the report.

    Raises:
        DataError: result.json is missing, or a file is damaged.
        StorageError: The report cannot be written.
    """
    source = run / "result.json"
    if not source.exists():
        raise DataError(
            "the run has no result yet",
            whose=str(run),
            fix="evaluate it first: moekit evaluate KIT --data D --run RUN",
        )
    result = read_json(source)
    with naming(source):
        context = {
            "result": result,
            "headline": next(iter(result["metrics"])),
            "rows": _metric_rows(result),
            "facts": _facts(result),
        }
    context |= {
        "curves": _curves(run, result),
        "routing": read_routing(run),
        "history": _history(read_history(run)),
        "added": plugin_sections(run, registry or Registry()),
    }
    with naming(source):
        bare = _render(context, None)
        shots = read_shots(run, budget=LARGEST - _MARGIN - len(bare.encode("utf-8")))
        page = _render(context, shots)
    path = run / "report.html"
    with atomic_text(path) as file:
        file.write(page)
    return path


def _render(context: dict[str, Any], shots: Shots | None) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("moekit.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_readable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "figure": _figure,
        "signed": lambda value: f"{value:+.4f}",
        "interval": _interval,
        "percent": lambda value: f"{value:.1%}",
    }
    return environment.get_template("report.html.j2").render(context, shots=shots)


def _readable(value: Any) -> Any:
    """Text that cannot disguise itself: control and direction signs are spelt out, length cut."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    if len(value) > _LONGEST_TEXT:
        value = f"{value[:_LONGEST_TEXT]} ..."
    return "".join(
        f"<U+{ord(sign):04X}>"
        if sign in _TURNING or (unicodedata.category(sign) in ("Cc", "Cs") and sign not in "\n\t")
        else sign
        for sign in value
    )


def _metric_rows(result: dict[str, Any]) -> list[dict[str, Any]]:
    """For each metric: the kit, the baseline, a drawing of both, and what the difference says."""
    baseline = (result["baseline"] or {}).get("metrics", {})
    differences = (result["comparison"] or {}).get("metrics", {})
    rows = []
    for name, entry in result["metrics"].items():
        pair = [(_KIT, entry), (_BARE, baseline.get(name))]
        drawn = [
            (style, shown["value"], *shown["ci95"])
            for style, shown in pair
            if shown is not None and shown["value"] is not None and shown["ci95"] is not None
        ]
        gap = differences.get(name)
        rows.append(
            {
                "name": name,
                "kit": entry,
                "baseline": baseline.get(name),
                "drawing": interval_chart(f"Intervals of {name}", drawn) if drawn else None,
                "difference": gap,
                "better": _better(gap, up=entry["higher_is_better"]),
            }
        )
    return rows


def _better(gap: dict[str, Any] | None, *, up: bool) -> str | None:
    """`kit` or `baseline` where the interval of the difference leaves out 0; None elsewhere."""
    if gap is None or gap["ci95"] is None:
        return None
    low, high = gap["ci95"]
    if low <= 0 <= high:
        return None
    return "kit" if (low > 0) == up else "baseline"


def _curves(run: Path, result: dict[str, Any]) -> dict[str, Any] | None:
    with naming(run / "result.json"):
        threshold, seed, n = result["threshold"]["value"], result["bootstrap_seed"], result["n"]
    predictions = read_predictions(run, n=n)
    if predictions is None or len(np.unique(predictions.labels)) < 2:
        return None
    labels, scores = predictions.labels, predictions.scores
    chosen = counts_at(threshold, scores[labels == 1], scores[labels == 0])
    at = (chosen["false_alarm_rate"], 1 - chosen["missed_rate"], "the chosen threshold")
    called = len(labels[labels == 1]) - chosen["missed"]
    precise = (
        [(at[1], called / (called + chosen["false_alarms"]), "the chosen threshold")]
        if called
        else []
    )
    drawn = Resamples(predictions, seed=seed, count=_BAND_RESAMPLES)
    return {
        "roc": line_chart(
            "ROC curve",
            _lines(predictions, roc_points, roc_band, drawn),
            x=Axis(label="false positive rate", **_UNIT),
            y=Axis(label="true positive rate", **_UNIT),
            marks=[at],
        ),
        "pr": line_chart(
            "Precision-recall curve",
            _lines(predictions, precision_recall_points, precision_recall_band, drawn),
            x=Axis(label="recall", **_UNIT),
            y=Axis(label="precision", **_UNIT),
            marks=precise,
        ),
        "chosen": chosen,
        "table": threshold_table(scores, labels),
    }


def _lines(
    predictions: Predictions, points: Callable[..., Any], band: Callable[..., Any], drawn: Resamples
) -> list[Line]:
    named = (
        ("specialist", _KIT, predictions.scores),
        ("frozen backbone", _BARE, predictions.baseline_scores),
    )
    return [
        Line(
            name=name,
            points=points(scores, predictions.labels),
            style=style,
            band=band(scores, predictions.labels, drawn),
        )
        for name, style, scores in named
        if scores is not None
    ]


def _history(epochs: list[Epoch] | None) -> list[Markup] | None:
    """Loss and validation AUROC against the epoch; empty where no epoch has a loss."""
    if not epochs:
        return None
    if all(math.isnan(epoch.train_loss) for epoch in epochs):
        return []
    x = Axis.around("epoch", [epoch.epoch for epoch in epochs])

    def chart(title: str, label: str, *figures: tuple[str, str, list[float]]) -> Markup:
        y = Axis.around(label, [value for *_, values in figures for value in values])
        numbers = [epoch.epoch for epoch in epochs]
        lines = [
            Line(name=name, points=list(zip(numbers, values, strict=True)), style=style)
            for name, style, values in figures
        ]
        return line_chart(title, lines, x=x, y=y)

    return [
        chart(
            "Loss",
            "loss",
            ("training", _KIT, [epoch.train_loss for epoch in epochs]),
            ("validation", _BARE, [epoch.val_loss for epoch in epochs]),
        ),
        chart(
            "Validation AUROC",
            "AUROC",
            ("validation", _BARE, [epoch.val_auroc for epoch in epochs]),
        ),
    ]


def _facts(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Provenance as rows of a table."""
    backbone, throughput = result["backbone"], result["throughput"]
    rows = [
        ("data", f"{result['dataset']}: {result['data']['source']}"),
        ("licence of the data", result["data"]["licence"]),
        ("splits", result["split_note"]),
        ("seed", f"{result['seed']} (training), {result['bootstrap_seed']} (bootstrap)"),
        (
            "backbone",
            f"{backbone['architecture']}, {backbone['experts']} experts a block, "
            f"top_k {backbone['top_k']}",
        ),
        ("backbone weights", f"{backbone['provenance']} Licence: {backbone['licence']}."),
        ("backbone SHA-256", backbone["sha256"]),
        ("kit weights SHA-256", result["weights"]["kit_sha256"]),
        (
            "trained parameters",
            f"{result['parameters']['trained']:,} beside "
            f"{result['parameters']['backbone']:,} frozen",
        ),
        (
            "throughput",
            f"{throughput['images_per_s']:.1f} images/s, batch "
            f"{throughput['batch_size']}, {throughput['precision']}, "
            f"{throughput['device']}",
        ),
        ("machine", _words(result["machine"])),
        ("versions", _words(result["versions"])),
        ("made", f"{result['created']} by {result['command']}"),
    ]
    rows += [
        (
            f"plugin {plugin['name']}",
            f"{plugin['distribution']} {plugin['version']}, manifest {plugin['manifest_sha256']}",
        )
        for plugin in result["plugins"]
    ]
    return rows


def _words(facts: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in facts.items())


def _figure(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


def _interval(bounds: list[float] | None) -> str:
    return "no interval" if bounds is None else f"{bounds[0]:.4f} to {bounds[1]:.4f}"

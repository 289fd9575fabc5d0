"""The report of a run: one self-contained HTML file, made from the files in the run folder."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from moekit._files import atomic_text, read_json
from moekit.data.predictions import Predictions
from moekit.errors import DataError
from moekit.evaluation.curves import (
    counts_at,
    precision_recall_points,
    roc_points,
    threshold_table,
)
from moekit.evaluation.svg import Axis, Line, line_chart

LARGEST = 2_000_000
_IMAGE_BUDGET = 1_200_000
_UNIT = {"low": 0.0, "high": 1.0}


def render_report(run: Path) -> Path:
    """Writes RUN/report.html.

    Sections whose file is missing are left out, and the page says which command makes it.

    Args:
        run: A run folder with result.json.

    Returns:
        The path of the report.

    Raises:
        DataError: result.json is missing, or a file is damaged.
        StorageError: The report cannot be written.
    """
    if not (run / "result.json").exists():
        raise DataError(
            "the run has no result yet",
            whose=str(run),
            fix="evaluate it first: moekit evaluate KIT --data D --run RUN",
        )
    try:
        context = _context(run)
        page = _environment().get_template("report.html.j2").render(context)
    except (KeyError, TypeError, ValueError, AttributeError, jinja2.UndefinedError) as error:
        raise DataError(
            f"a file of the run is damaged ({type(error).__name__}: {error})",
            whose=str(run),
            fix="run `moekit evaluate` again",
        ) from error
    path = run / "report.html"
    with atomic_text(path) as file:
        file.write(page)
    return path


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("moekit.evaluation"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"figure": _figure, "interval": _interval, "percent": _percent}
    return environment


def _context(run: Path) -> dict[str, Any]:
    result = read_json(run / "result.json")
    return {
        "result": result,
        "headline": next(iter(result["metrics"])),
        "curves": _curves(run, result),
        "misses": _misses(run),
        "routing": _routing(run),
        "history": _history(run),
        "facts": _facts(result),
    }


def _curves(run: Path, result: dict[str, Any]) -> dict[str, Any] | None:
    if not (run / "predictions.csv").exists():
        return None
    predictions = Predictions.read_csv(run / "predictions.csv")
    labels, scores = predictions.labels, predictions.scores
    if len(np.unique(labels)) < 2:
        return None
    named = {"specialist": scores, "frozen backbone": predictions.baseline_scores}
    styles = {"specialist": "curve-a", "frozen backbone": "curve-b"}
    present = {name: values for name, values in named.items() if values is not None}
    chosen = counts_at(result["threshold"]["value"], scores[labels == 1], scores[labels == 0])
    at = (chosen["false_alarm_rate"], 1 - chosen["missed_rate"], "the chosen threshold")
    return {
        "roc": line_chart(
            "ROC curve",
            [
                Line(name=name, points=roc_points(values, labels), style=styles[name])
                for name, values in present.items()
            ],
            x=Axis(label="false positive rate", **_UNIT),
            y=Axis(label="true positive rate", **_UNIT),
            marks=[at],
        ),
        "pr": line_chart(
            "Precision-recall curve",
            [
                Line(name=name, points=precision_recall_points(values, labels), style=styles[name])
                for name, values in present.items()
            ],
            x=Axis(label="recall", **_UNIT),
            y=Axis(label="precision", **_UNIT),
        ),
        "chosen": chosen,
        "table": threshold_table(scores, labels),
    }


def _misses(run: Path) -> dict[str, Any] | None:
    index = run / "overlays" / "index.json"
    if not index.exists():
        return None
    shown: list[dict[str, Any]] = []
    left_out, used = 0, 0
    for entry in read_json(index):
        path = run / "overlays" / Path(entry["file"]).name
        data = path.read_bytes() if path.is_file() else b""
        used += len(data) * 4 // 3
        if not data or used > _IMAGE_BUDGET:
            left_out += 1
            continue
        source = "data:image/jpeg;base64," + base64.b64encode(data).decode("ascii")
        shown.append({**entry, "source": source})
    return {"shown": shown, "left_out": left_out}


def _routing(run: Path) -> dict[str, Any] | None:
    path = run / "routing.json"
    return read_json(path) if path.exists() else None


def _history(run: Path) -> Markup | None:
    path = run / "history.jsonl"
    if not path.exists():
        return None
    try:
        epochs = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, json.JSONDecodeError) as error:
        raise DataError(
            f"the history cannot be read ({error})", whose=str(path), fix="delete the file"
        ) from error
    if not epochs:
        return None
    losses = [epoch[name] for epoch in epochs for name in ("train_loss", "val_loss")]
    return line_chart(
        "Training history",
        [
            Line(
                name=label,
                points=[(epoch["epoch"], epoch[name]) for epoch in epochs],
                style=style,
            )
            for name, label, style in (
                ("train_loss", "training loss", "curve-a"),
                ("val_loss", "validation loss", "curve-b"),
            )
        ],
        x=Axis(label="epoch", low=epochs[0]["epoch"], high=epochs[-1]["epoch"]),
        y=Axis(label="loss", low=min(losses), high=max(losses)),
    )


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


def _interval(entry: dict[str, Any]) -> str:
    bounds = entry["ci95"]
    return "no interval" if bounds is None else f"{bounds[0]:.4f} to {bounds[1]:.4f}"


def _percent(value: float) -> str:
    return f"{value:.1%}"

"""Results of the benchmarks as one JSON object and one drawing."""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from moekit.bench.suite import Plan, Row
from moekit.bench.tokens import KEEP, MERGE
from moekit.files import atomic_text, write_json
from moekit.report.svg import Axis, Line, line_chart, sheet
from moekit.runs.facts import machine, now, versions

_STYLES = ("curve-a", "curve-b", "curve-c", "curve-d")


def results(rows: Mapping[str, Sequence[Row]], plan: Plan, *, command: str) -> dict[str, Any]:
    """The JSON object: what was run, on what, and all rows.

    Args:
        rows: What `run_benchmarks` returned.
        plan: What it was given.
        command: What was typed.
    """
    return {
        "command": command,
        "created": now(),
        "versions": {**versions(), "transformers": _version("transformers")},
        "machine": machine(),
        "seconds": plan.seconds,
        "baseline": "dense",
        "benchmarks": {name: list(found) for name, found in rows.items()},
    }


def write_results(found: Mapping[str, Any], folder: Path) -> tuple[Path, Path]:
    """Writes `bench.json` and `bench.svg`; returns their paths.

    Raises:
        StorageError: They cannot be written.
    """
    json_path, svg_path = folder / "bench.json", folder / "bench.svg"
    write_json(json_path, found)
    with atomic_text(svg_path) as file:
        title = "Time as a ratio to the dense network's, of kits to one kit's"
        file.write(sheet(title, charts(found["benchmarks"])))
    return json_path, svg_path


def charts(benchmarks: Mapping[str, Sequence[Row]]) -> list[tuple[str, Markup]]:
    """Heading and chart of each benchmark, dtype and number of threads."""
    drawn: list[tuple[str, Markup]] = []
    for name, found in benchmarks.items():
        for key in dict.fromkeys((row["dtype"], row["threads"]) for row in found):
            rows = [row for row in found if (row["dtype"], row["threads"]) == key]
            title = f"{name}, {key[0]}, {key[1]} thread{'s' if key[1] > 1 else ''}"
            drawn += [(title, chart) for chart in _CHARTS[name](title, rows)]
    return drawn


def _layer_charts(title: str, rows: Sequence[Row]) -> list[Markup]:
    peers = ("moekit", "all experts", "plain loop", "transformers")
    points: dict[str, dict[float, float]] = {name: {} for name in peers}
    for row in rows:
        name = "transformers" if row["name"].startswith("transformers") else row["name"]
        if name in points:  # of several implementations, the fastest
            at = math.log2(row["tokens"])
            points[name][at] = min(row["ratio"], points[name].get(at, math.inf))
    return [_chart(title, "log2 of the number of tokens", points)]


def _scaling_charts(title: str, rows: Sequence[Row]) -> list[Markup]:
    drawn = []
    for series in dict.fromkeys(row["series"] for row in rows):
        chosen = [row for row in rows if (row["series"], row["name"]) == (series, "moekit")]
        points = {"moekit": {math.log2(row["at"]): row["ratio"] for row in chosen}}
        drawn.append(_chart(title, f"log2 of {_SERIES[series]}", points))
    return drawn


def _backbone_charts(title: str, rows: Sequence[Row]) -> list[Markup]:
    moe = [row for row in rows if row["name"].startswith("top_k ")]
    points = {"moekit": {float(row["name"].split()[1]): row["ratio"] for row in moe}}
    return [_chart(title, "experts of a token", points)]


def _kits_charts(title: str, rows: Sequence[Row]) -> list[Markup]:
    points: dict[str, dict[float, float]] = {}
    for row in rows:
        if row["name"].endswith(" kits"):
            at = math.log2(int(row["name"].split()[0]))
            points.setdefault(row["placement"], {})[at] = row["ratio"]
    return [_chart(title, "log2 of the number of kits", points, of="one kit")]


def _tokens_charts(title: str, rows: Sequence[Row]) -> list[Markup]:
    points: dict[str, dict[float, float]] = {}
    for row in rows:
        for prefix, what in ((KEEP, "skipped"), (MERGE, "merged")):
            if row["name"].startswith(prefix):
                share = float(row["name"].removeprefix(prefix))
                name = f"{row['side']} px, others {what}"
                points.setdefault(name, {})[share] = row["ratio"]
    return [_chart(title, "share of the patches that is computed", points)]


_SERIES = {"batch": "the number of images", "experts": "the number of experts"}
_CHARTS: dict[str, Callable[[str, Sequence[Row]], list[Markup]]] = {
    "layer": _layer_charts,
    "scaling": _scaling_charts,
    "backbone": _backbone_charts,
    "kits": _kits_charts,
    "tokens": _tokens_charts,
}


def _chart(
    title: str, label: str, points: Mapping[str, Mapping[float, float]], *, of: str = "dense"
) -> Markup:
    lines = [
        Line(name=name, points=sorted(at.items()), style=style)
        for (name, at), style in zip(points.items(), _STYLES, strict=False)
        if at
    ]
    x = Axis.around(label, [at for line in lines for at, _ in line.points])
    y = Axis.around(f"time / {of}", [0.0, *(ratio for line in lines for _, ratio in line.points)])
    return line_chart(title, lines, x=x, y=y)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"

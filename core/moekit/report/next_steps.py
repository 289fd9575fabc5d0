"""What a reader of a report can do next: sentences from the result, and the commands for it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def next_steps(run: Path, result: Mapping[str, Any], of_task: Sequence[str]) -> list[str]:
    """The steps, the most urgent first.

    Args:
        run: The run folder.
        result: The content of result.json.
        of_task: Steps that the task gives.
    """
    return [*_faults(result), *of_task, *_certainty(result), *_commands(run, result)]


def _faults(result: Mapping[str, Any]) -> list[str]:
    """What has to be looked at before the figures are used."""
    told = []
    if result["skipped"]:
        told.append(
            f"Repair the {len(result['skipped'])} inputs that could not be read, and evaluate "
            "again. They are listed under Skipped inputs."
        )
    near = (result.get("near_duplicates") or {}).get("items")
    if near:
        told.append(
            f"{near} of {result['n']} items look like items of another split, so the figures may "
            "be too good. Move them into one split and train again; if moekit deals the splits, "
            "`moekit adapt KIT --data DATA --out RUN --group-near-duplicates` does that."
        )
    return told


def _certainty(result: Mapping[str, Any]) -> list[str]:
    """How the figures become surer."""
    metrics: Mapping[str, Any] = result["metrics"]
    name = next(iter(metrics), "")
    interval = metrics[name].get("ci95") if name else None
    if not interval:
        return []
    low, high = interval
    return [
        f"For a narrower interval, evaluate more items: that of {name} is {high - low:.3f} wide "
        f"with {result['n']}, and about half as wide with {4 * result['n']}."
    ]


def _commands(run: Path, result: Mapping[str, Any]) -> list[str]:
    if result.get("foreign"):
        return []
    kit, folder = result["kit"], shlex.quote(str(run))
    return [
        f"Answer new inputs: `moekit predict {kit} INPUT --run {folder} --out OUT`.",
        f"Put it to use: `moekit export {kit} --data DATA --run {folder}` writes a graph, and "
        f"`moekit serve {folder}` answers over HTTP.",
    ]

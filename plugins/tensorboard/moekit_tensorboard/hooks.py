"""The hooks of the tracker. TensorBoard is imported when a run is there to be written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from moekit import RunEvent, hookimpl

FOLDER = "tensorboard"


@hookimpl
def moekit_run_started(event: RunEvent) -> None:
    """Writes what was asked for, as text."""
    text = json.dumps(dict(event.record), indent=2, default=str, allow_nan=False)
    _write(event, text=text)


@hookimpl
def moekit_run_finished(event: RunEvent) -> None:
    """Writes the curves of an adaptation, or the metrics of an evaluation."""
    if event.command == "adapt":
        _write(event, curves=_history(event.folder / "history.jsonl"))
    else:
        _write(event, metrics=event.record["metrics"])


def _write(
    event: RunEvent,
    *,
    text: str = "",
    curves: list[dict[str, float | None]] | None = None,
    metrics: Mapping[str, Any] | None = None,
) -> None:
    from torch.utils.tensorboard import SummaryWriter

    folder = event.folder / FOLDER / event.command
    with SummaryWriter(str(folder)) as writer:
        if text:
            writer.add_text(f"{event.kit} on {event.dataset}", f"```\n{text}\n```")
        for epoch in curves or []:
            for name, value in epoch.items():
                if name != "epoch" and value is not None:  # which is a figure that is undefined
                    writer.add_scalar(name, value, int(epoch["epoch"] or 0))
        for name, entry in (metrics or {}).items():
            if entry["value"] is not None:
                writer.add_scalar(f"test/{name}", entry["value"], 0)


def _history(path: Path) -> list[dict[str, float | None]]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]

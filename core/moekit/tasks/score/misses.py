"""The worst misses of a split, drawn: RUN/overlays with an index."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from moekit.data.images import read_frames
from moekit.data.samples import Sample
from moekit.files import write_json
from moekit.tasks.score.overlay import save_overlay
from moekit.tasks.score.predictions import Predictions

SHOWN_MISSES = 6


def draw_misses(
    folder: Path,
    samples: Sequence[Sample],
    maps: Sequence[np.ndarray | None],
    predictions: Predictions,
    threshold: float,
    *,
    frames: int = 1,
) -> None:
    """Draws the misses farthest from the threshold and writes their index.

    Args:
        folder: Where the pictures and index.json go.
        samples: (n) the scored samples.
        maps: (n) their (h, w) maps in [0, 1]; a sample without one is not drawn.
        predictions: (n) their scores.
        threshold: Operating threshold.
        frames: Frames of a sample, of which the middle one is drawn.
    """
    index = []
    for kind, rows in worst_misses(predictions, threshold).items():
        for rank, row in enumerate(rows, start=1):
            evidence = maps[row]
            if evidence is None:
                continue
            name = f"{kind}-{rank}.jpg"
            pictures = read_frames(samples[row].path, frames)
            save_overlay(folder / name, pictures[len(pictures) // 2], evidence)
            index.append(
                {
                    "id": predictions.ids[row],
                    "file": name,
                    "score": float(predictions.scores[row]),
                    "label": int(predictions.labels[row]),
                    "kind": kind,
                }
            )
    write_json(folder / "index.json", index)


def worst_misses(predictions: Predictions, threshold: float) -> dict[str, np.ndarray]:
    """Rows of the misses farthest from the threshold, the worst first."""
    rejected = predictions.scores >= threshold
    missed = np.flatnonzero((predictions.labels == 1) & ~rejected)
    alarms = np.flatnonzero((predictions.labels == 0) & rejected)
    return {
        "missed": missed[np.argsort(predictions.scores[missed], kind="stable")][:SHOWN_MISSES],
        "false_alarm": alarms[np.argsort(-predictions.scores[alarms], kind="stable")][
            :SHOWN_MISSES
        ],
    }

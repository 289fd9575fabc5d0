"""What a watch is asked to do."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from moekit.errors import UsageError
from moekit.outputs import WATCH, check_vacant
from moekit.prediction.watch.drift import WINDOW
from moekit.prediction.watch.golden import TOLERANCE
from moekit.prediction.watch.overlays import FOLDER, Which


@dataclasses.dataclass(frozen=True, kw_only=True)
class WatchJob:
    """What `watch` is asked to do.

    Attributes:
        folder: Where images arrive, at any depth.
        out: The output folder.
        made_with: What the answers depend on: kit, backbone, precision.
        provenance: What the verdicts depend on, `made_with` included; a folder that was begun with
            another one is refused.
        reference: (n,) numbers that the line's own are compared with, for the check against drift;
            None to take the first numbers of the line.
        batch_size: Most images a forward pass; it never waits for more than are there.
        queue: Most images that are read ahead of the computation.
        settle: For how long a file must not change until it counts as whole, in seconds.
        tries: How often a file is read until it counts as unreadable, each time after twice as
            long a wait.
        once: Whether to end when everything that is there is answered.
        idle: After how many seconds without a new image to end; None for never.
        overlays: Of which images there are overlays.
        keep: Most overlays that are kept.
        golden: Folder of golden images; None for none.
        golden_every: After how many images they are answered again; None for at the start only.
        golden_tolerance: Largest difference of their numbers that is no failure.
        window: Numbers of the line that are compared with the reference.
        summary_every: Seconds between two summaries.
    """

    folder: Path
    out: Path
    made_with: Mapping[str, Any]
    provenance: Mapping[str, Any]
    reference: np.ndarray | None = None
    batch_size: int = 1
    queue: int = 32
    settle: float = 0.5
    tries: int = 5
    once: bool = False
    idle: float | None = None
    overlays: Which = "rejected"
    keep: int = 10_000
    golden: Path | None = None
    golden_every: int | None = None
    golden_tolerance: float = TOLERANCE
    window: int = WINDOW
    summary_every: float = 10.0


def check_folders(folder: Path, out: Path, golden: Path | None) -> None:
    """Refuses folders in which the watch would find or remove what is not of its kind.

    Args:
        folder: The folder that is watched.
        out: The output folder.
        golden: The folder of golden images, or None.

    Raises:
        UsageError: One lies in another, or the output folder holds other things.
    """
    check_vacant(out, WATCH)
    folder, overlays = folder.resolve(), (out / FOLDER).resolve()
    inner = [("--out", out.resolve()), ("--out", overlays)]
    inner += [] if golden is None else [("--golden", golden.resolve())]
    for option, path in inner:
        if path.is_relative_to(folder):
            raise UsageError(
                f"the folder {path} lies in the one that is watched",
                whose=option,
                fix="choose a folder elsewhere",
                code="usage/nested-folders",
            )
    if folder.is_relative_to(overlays):
        raise UsageError(
            "the folder that is watched lies among the overlays, which are removed in time",
            whose="--out",
            fix="choose a folder elsewhere",
            code="usage/nested-folders",
        )

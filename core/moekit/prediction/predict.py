"""Scoring images of one's own: a row and a heatmap overlay each, resumable."""

from __future__ import annotations

import concurrent.futures
import csv
import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from moekit.data.images import find_images
from moekit.data.stream import Preprocess, image_batches
from moekit.errors import DataError, UsageError
from moekit.files import atomic_text
from moekit.runs.journal import Journal, read_journal
from moekit.runtime.predictor import Scorer
from moekit.tasks.score.overlay import LONG_SIDE, save_overlay
from moekit.tasks.score.regions import Region, find_regions
from moekit.tasks.score.threshold import UNREADABLE, verdict

Judge = Callable[[float, str], str]
OnProgress = Callable[[str, int, int], None]
_COLUMNS = ("file", "score", "verdict", "threshold", "overlay", "error", "kind", "regions")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prediction:
    """One row of the output.

    Attributes:
        file: The input, relative to the folder that was given.
        score: Probability of the positive class; None where the image could not be read.
        verdict: The kit's word for a positive, "pass", "review", or "unreadable".
        threshold: Operating threshold; a score at or above it is positive.
        overlay: Name of the overlay file in the output folder; empty where there is none.
        error: Why the image could not be read; empty otherwise.
        kind: The kind of image that the kit took it for, "unknown" for none that it was trained on;
            empty where it does not tell kinds apart.
        regions: Where the map reaches the threshold; in the CSV as JSON.
    """

    file: str
    score: float | None
    verdict: str
    threshold: float
    overlay: str
    error: str
    kind: str = ""
    regions: list[Region] = dataclasses.field(default_factory=list)


def check_paths(paths: Sequence[Path]) -> None:
    """Checks that inputs are there.

    Raises:
        DataError: One is not.
    """
    for path in paths:
        if not path.exists():
            raise DataError(
                "there is no such file or folder", whose=str(path), fix="check the path"
            )


def collect_inputs(paths: Sequence[Path]) -> list[tuple[str, Path]]:
    """Images named one by one or by folder, each once, with a name that is unique.

    Raises:
        DataError: A path does not exist, or there is no image at all.
    """
    check_paths(paths)
    found: dict[Path, str] = {}
    for path in paths:
        if path.is_dir():
            for image in find_images(path):
                found.setdefault(image.resolve(), image.relative_to(path).as_posix())
        else:
            found.setdefault(path.resolve(), path.name)
    if not found:
        raise DataError(
            "there is no image to score",
            whose=", ".join(str(path) for path in paths),
            fix="name image files, or a folder that holds some (PNG, JPEG, BMP, TIFF, WebP, PNM)",
        )
    return _with_unique_names(found)


def predict(
    inputs: Sequence[tuple[str, Path]],
    *,
    predictor: Scorer,
    preprocess: Preprocess,
    threshold: float,
    positive: str,
    provenance: dict[str, Any],
    out: Path,
    batch_size: int,
    on_progress: OnProgress,
    review: float | None = None,
) -> list[Prediction]:
    """Scores images; what an interrupted call with the same inputs has done is not done again.

    Writes OUT/predictions.jsonl as it goes, OUT/predictions.csv at the end, and OUT/overlays/.

    Args:
        inputs: Name and path of each image, from `collect_inputs`.
        predictor: The trained kit.
        preprocess: How images are read.
        threshold: Operating threshold.
        positive: The kit's word for a score at or above the threshold.
        provenance: What the scores depend on; a folder begun with another one is refused.
        out: The output folder.
        batch_size: Images a forward pass.
        on_progress: Called with a description, the images done and their total.
        review: The threshold of the review zone below the operating one; None for no zone.

    Returns:
        One prediction an input, in their order.

    Raises:
        UsageError: The folder holds predictions that were made otherwise.
        StorageError: The output cannot be written.
    """
    journal = out / "predictions.jsonl"
    done = {row.file: row for row in read_rows(journal, provenance)}
    waiting = [(name, path) for name, path in inputs if name not in done]

    def judge(score: float, kind: str) -> str:
        return verdict(score, threshold=threshold, positive=positive, review=review, kind=kind)

    with Journal(journal, provenance) as file:
        for rows in _score(waiting, predictor, preprocess, threshold, judge, out, batch_size):
            file.append(dataclasses.asdict(row) for row in rows)
            done |= {row.file: row for row in rows}
            on_progress("images", len(done), len(inputs))
    rows = [done[name] for name, _ in inputs]
    _write_csv(out / "predictions.csv", rows)
    return rows


def read_rows(journal: Path, provenance: dict[str, Any]) -> Iterator[Prediction]:
    """Yields the finished predictions of a journal; see `read_journal`.

    Raises:
        UsageError: The journal was begun with another provenance.
    """
    for values in read_journal(journal, provenance):
        try:
            yield Prediction(**values)
        except TypeError:
            continue


def score_pictures(
    predictor: Scorer,
    preprocess: Preprocess,
    batch_size: int,
    pictures: Sequence[Image.Image | Sequence[Image.Image]],
) -> np.ndarray:
    """Probabilities of the positive class of RGB pictures of any size, or of stacks of them.

    Args:
        predictor: The trained kit.
        preprocess: How the run's images are read.
        batch_size: Pictures or stacks a forward pass.
        pictures: n pictures or, where the run was trained on stacks, n sequences of as many.

    Returns:
        (n,) float64.

    Raises:
        UsageError: A stack has another number of pictures than the run was trained with.
    """
    stacks = [[one] if isinstance(one, Image.Image) else list(one) for one in pictures]
    wrong = [len(stack) for stack in stacks if len(stack) != preprocess.frames]
    if wrong:
        raise UsageError(
            f"stacks of {wrong[0]} were given, the run was made with stacks of {preprocess.frames}",
            whose="the kit's predict",
            fix="give stacks of as many pictures as the run was made with, or name another run",
        )
    scores = [
        predictor(
            torch.stack([preprocess.stack(stack) for stack in stacks[first : first + batch_size]])
        ).score_B
        for first in range(0, len(stacks), batch_size)
    ]
    return torch.cat(scores).numpy() if scores else np.zeros(0)


def _score(
    inputs: Sequence[tuple[str, Path]],
    predictor: Scorer,
    preprocess: Preprocess,
    threshold: float,
    judge: Judge,
    out: Path,
    batch_size: int,
) -> Any:
    """Yields the finished rows of one batch while the next one is computed."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        pending: list[concurrent.futures.Future[Prediction]] = []
        for batch in image_batches(inputs, preprocess, batch_size=batch_size, pictures=LONG_SIDE):
            reasons = {skip.id: skip.reason for skip in batch.skipped}
            rows = [
                Prediction(
                    file=name,
                    score=None,
                    verdict=UNREADABLE,
                    threshold=threshold,
                    overlay="",
                    error=reason,
                )
                for name, reason in reasons.items()
            ]
            started = []
            if batch.rows:
                output = predictor(batch.images)
                for place, row in enumerate(batch.rows):
                    evidence = None if output.map_BHW is None else output.map_BHW[place].numpy()
                    score = float(output.score_B[place])
                    started.append(
                        pool.submit(
                            _finish,
                            inputs[row][0],
                            batch.pictures[place],
                            batch.sizes[place],
                            score,
                            evidence,
                            "" if output.kinds is None else output.kinds[place],
                            threshold,
                            judge,
                            out,
                        )
                    )
            yield [*rows, *(future.result() for future in pending)]
            pending = started
        yield [future.result() for future in pending]


def _finish(
    name: str,
    picture: Image.Image,
    size: tuple[int, int],
    score: float,
    evidence: np.ndarray | None,
    kind: str,
    threshold: float,
    judge: Judge,
    out: Path,
) -> Prediction:
    overlay = ""
    regions: list[Region] = []
    if evidence is not None:
        regions = find_regions(evidence, threshold=threshold, size=size)
        overlay = f"overlays/{name}.jpg"
        save_overlay(out / overlay, picture, evidence)
    return Prediction(
        file=name,
        score=score,
        verdict=judge(score, kind),
        threshold=threshold,
        overlay=overlay,
        error="",
        kind=kind,
        regions=regions,
    )


def _with_unique_names(found: dict[Path, str]) -> list[tuple[str, Path]]:
    """A name that two inputs share gets a part of its path's hash."""
    names = list(found.values())
    unique = []
    for path, name in found.items():
        if names.count(name) > 1:
            mark = hashlib.sha256(str(path).encode()).hexdigest()[:8]
            name = f"{mark}-{name}"
        unique.append((name, path))
    return unique


def _write_csv(path: Path, rows: Sequence[Prediction]) -> None:
    with atomic_text(path) as file:
        writer = csv.DictWriter(file, fieldnames=_COLUMNS)
        writer.writeheader()
        writer.writerows(
            {**dataclasses.asdict(row), "regions": json.dumps(row.regions)} for row in rows
        )

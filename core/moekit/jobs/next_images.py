"""Which images to look at next: those whose labels are expected to teach a run most.

Three signs are read, as far as there are any, and ranked among the images: how near the answer is
to another one (uncertainty sampling, Lewis and Gale 1994, arXiv:cmp-lg/9407020), how far specialist
and baseline disagree (query by committee, Seung et al. 1992), and how unlike the image is to what
the run learned from. The gain is the mean of an image's ranks, from 0 to 1.

Shapes: N images, S signs, W width of a code, K learned codes, C cells, D width.
"""

from __future__ import annotations

import dataclasses
import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from moekit.contract.answers import Answer, Item
from moekit.corrections.kept import corrected_images
from moekit.data.content import Contents
from moekit.data.stream import image_batches
from moekit.errors import DataError, UsageError
from moekit.files import atomic_text, check_writable
from moekit.jobs.session import READING, backbone_of_run, load_licensed, one_step
from moekit.jobs.trained import check_reads_images
from moekit.plugins.faults import names_owner
from moekit.plugins.registry import Registry
from moekit.plugins.resolve import Resolved, kit_of_run, resolve
from moekit.prediction.inputs import collect_inputs
from moekit.runs.near import read_codes
from moekit.runs.run import Run
from moekit.runtime.load import context_of, load_predictor, points_of, preprocess_of
from moekit.runtime.parts import computed_parts
from moekit.tables import CsvWriter

SIGNS = ("margin", "disagreement", "distance")
COLUMNS = ("rank", "file", "image_sha256", "verdict", "gain", *SIGNS, "why")
_DIGITS = 6
_HIGH = 0.75
"""An image in the upper quarter of a sign is reported by it."""
_BLOCK = 4096


@dataclasses.dataclass(frozen=True, kw_only=True)
class Looked:
    """What is known of one image.

    Attributes:
        path: Where it lies.
        content: SHA-256 of its bytes.
        verdict: What the run answers.
        other: What its baseline answers.
        margin: How far the answer is from another one, from 0 on; None if the task does not say.
        disagreement: How far specialist and baseline disagree, from 0 to 1.
        distance: How unlike the image is to what was learned from, from 0 to 2; None if the run
            does not know.
    """

    path: Path
    content: str
    verdict: str
    other: str
    margin: float | None
    disagreement: float
    distance: float | None


@names_owner
def next_images(
    run_folder: Path,
    *,
    out: Path,
    on_progress: Callable[[str, int, int], None],
    inputs: Sequence[Path] = (),
    data: str | None = None,
    corrections: Path | None = None,
    most: int | None = None,
    batch_size: int = 16,
    weights: str = "auto",
    form: str = "auto",
    device: str = "auto",
) -> dict[str, Any]:
    """Writes the list of images to look at, the most useful first.

    Args:
        run_folder: A finished run whose kit answers single images.
        out: The list, a CSV file.
        on_progress: Called with a description, what is done and the total.
        inputs: Image files, and folders of them.
        data: `LOADER` or `LOADER=PATH`; its images, whatever their labels.
        corrections: A folder of corrections; images that are in it are left out.
        most: Most images that are listed; all if None.
        batch_size: Images a forward pass.
        weights: Of the backbone.
        form: Sparse form of the backbone.
        device: auto, cpu, cuda or cuda:N.

    Returns:
        `n`, the images that are listed, `looked_at`, `corrected`, `copies`, `signs` that were
        read, and `skipped`.

    Raises:
        DataError: There is no image, or none can be read.
        StorageError: The list cannot be written.
        UsageError: The kit answers no single images, or neither inputs nor data are given.
    """
    check_writable(out.parent)
    registry, run = Registry(), Run(run_folder)
    record = run.read_finished()
    spec = kit_of_run(registry, record["request"]["kit"], record)
    check_reads_images(spec, run, fix="name a run that answers single images")
    if bool(inputs) == (data is not None):
        raise UsageError(
            "give image files and folders, or --data",
            whose="INPUT and --data",
            fix="give one of them",
            code="usage/option-conflict",
        )
    done = set() if corrections is None else corrected_images(corrections)
    with one_step(READING, on_progress):
        paths = _paths(registry, inputs, data)
    wanted, left_out = _wanted(paths, done, on_progress)
    looked: list[Looked] = []
    skipped: list[dict[str, str]] = []
    if wanted:
        backbone = backbone_of_run(run, device=device, weights=weights, form=form)
        resolved = resolve(spec, registry, frames=1)
        looker = _Looker(run, resolved, backbone=backbone, registry=registry, device=device)
        for found, lost in looker.look(wanted, batch_size=batch_size):
            looked += found
            skipped += lost
            on_progress("answering", len(looked) + len(skipped), len(wanted))
    if not looked and not left_out["corrected"]:
        first = f"; the first fault: {skipped[0]['reason']}" if skipped else ""
        raise DataError(
            f"not one image could be read{first}",
            whose=str(run.folder),
            fix="check the images",
            code="data/none-readable",
        )
    gains, ranks = gains_of(looked)
    order = np.argsort(-gains, kind="stable")[:most]
    write_list(
        out, [(looked[row], float(gains[row]), _why(looked[row], ranks, row)) for row in order]
    )
    return {
        "n": len(order),
        "looked_at": len(looked),
        **left_out,
        "signs": list(ranks),
        "skipped": skipped,
    }


def gains_of(looked: Sequence[Looked]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """(N,) gains from 0 to 1, and (N,) the rank of each sign that all images have, by its name.

    A rank is the share of the images that the sign speaks for less, ties in the middle. A sign that
    is the same for all says nothing, and is left out.
    """
    ranks: dict[str, np.ndarray] = {}
    for name in SIGNS:
        values = [getattr(one, name) for one in looked]
        if not values or any(value is None for value in values):
            continue
        sign = np.asarray(values, dtype=np.float64) * (-1 if name == "margin" else 1)
        if sign.min() < sign.max():
            ranks[name] = _rank(sign)
    if not ranks:
        return np.full(len(looked), 0.5), ranks
    gains: np.ndarray = np.mean(list(ranks.values()), axis=0)
    return gains, ranks


def _rank(sign_N: np.ndarray) -> np.ndarray:
    """(N,) the middle of the places that each value takes in rising order, as a share of N."""
    _, place_N, count = np.unique(sign_N, return_inverse=True, return_counts=True)
    middle: np.ndarray = (np.cumsum(count) - count / 2) / len(sign_N)
    return middle[place_N]


def write_list(path: Path, rows: Sequence[tuple[Looked, float, str]]) -> None:
    """Writes a list that `moekit serve --review-list` shows; paths are relative to it.

    Raises:
        StorageError: It cannot be written.
    """
    stored = io.StringIO(newline="")
    writer = CsvWriter(stored)
    writer.writerow(COLUMNS)
    folder = path.parent.resolve()
    for rank, (one, gain, why) in enumerate(rows, start=1):
        file = os.path.relpath(one.path.resolve(), folder)
        signs = [getattr(one, name) for name in SIGNS]
        told = ["" if value is None else round(value, _DIGITS) for value in signs]
        writer.writerow([rank, file, one.content, one.verdict, round(gain, _DIGITS), *told, why])
    with atomic_text(path) as file_:
        file_.write(stored.getvalue())


def _paths(registry: Registry, inputs: Sequence[Path], data: str | None) -> list[tuple[str, Path]]:
    if data is None:
        return collect_inputs(inputs)
    return [(one.id, one.path) for one in load_licensed(registry, data, seed=0).samples]


def _wanted(
    paths: Sequence[tuple[str, Path]],
    done: set[str],
    on_progress: Callable[[str, int, int], None],
) -> tuple[dict[str, tuple[str, Path]], dict[str, int]]:
    """Images by content, each once, less those that are corrected; and how many are left out."""
    contents, wanted = Contents(), {}
    corrected = copies = 0
    for place, (name, path) in enumerate(paths, start=1):
        content = contents.of(path) or f"unreadable {place}"
        if content in done:
            corrected += 1
        elif content in wanted:
            copies += 1
        else:
            wanted[content] = (name, path)
        on_progress("hashing the files", place, len(paths))
    return wanted, {"corrected": corrected, "copies": copies}


class _Looker:
    """Answers images by a run's specialist and its baseline, and compares them with the learned."""

    def __init__(
        self, run: Run, resolved: Resolved, *, backbone: Any, registry: Registry, device: str
    ) -> None:
        self._resolved = resolved
        self._predictor = load_predictor(
            run, resolved.kit, backbone=backbone, registry=registry, with_baseline=True
        )
        self._known = read_codes(run)
        self._predictor.with_cells = self._known is not None
        self._preprocess = preprocess_of(run, backbone)
        self._context = context_of(run, resolved, kinds=self._predictor.kit.kinds)
        self._points = points_of(run, resolved)

    def look(self, wanted: dict[str, tuple[str, Path]], *, batch_size: int) -> Any:
        """Yields what is known of some images, and those that could not be read."""
        named = list(wanted.items())
        inputs = [(name, path) for _, (name, path) in named]
        for batch in image_batches(inputs, self._preprocess, batch_size=batch_size):
            lost = [{"id": one.id, "reason": one.reason} for one in batch.skipped]
            found: list[Looked] = []
            for part in computed_parts(
                batch,
                compute=self._predictor,
                preprocess=self._preprocess,
                task=self._resolved.task,
                context=self._context,
                batch_size=batch_size,
            ):
                rows = [batch.rows[place] for place in part.places]
                items = [
                    Item(id=named[row][1][0], size=batch.sizes[place], frame=part.frame)
                    for row, place in zip(rows, part.places, strict=True)
                ]
                ours, theirs = (
                    self._resolved.task.answering.answers(outputs, items, point, self._context)
                    for outputs, point in zip(part.computed.outputs, self._points, strict=True)
                )
                far = self._distances(part.computed.cells, len(rows))
                for row, own, other, distance in zip(rows, ours, theirs, far, strict=True):
                    content, (_, path) = named[row]
                    found.append(self._looked(path, content, own, other, distance))
            yield found, lost

    def _looked(
        self, path: Path, content: str, own: Answer, other: Answer, distance: float | None
    ) -> Looked:
        how = self._resolved.task.correcting
        margin = None if how is None else how.margin(own, self._points[0])
        apart = 1.0
        if own.verdict == other.verdict:
            numbers = (own.monitor, other.monitor)
            known = [one for one in numbers if one is not None and np.isfinite(one)]
            apart = min(1.0, abs(known[0] - known[1])) if len(known) == len(numbers) else 0.0
        return Looked(
            path=path,
            content=content,
            verdict=own.verdict,
            other=other.verdict,
            margin=None if margin is None or not np.isfinite(margin) else float(margin),
            disagreement=float(apart),
            distance=distance,
        )

    def _distances(self, cells_BCD: np.ndarray | None, count: int) -> list[float | None]:
        """How unlike each image is to the most alike one that was learned from."""
        if self._known is None or cells_BCD is None:
            return [None] * count
        coder, learned_KVW, _ = self._known
        codes_BW = coder.codes(cells_BCD).astype(np.float32)
        flat = learned_KVW.reshape(-1, learned_KVW.shape[-1])
        best_B = np.full(count, -1.0)
        for first in range(0, len(flat), _BLOCK):
            part = flat[first : first + _BLOCK].astype(np.float32)
            best_B = np.maximum(best_B, (codes_BW @ part.T).max(1))
        return [float(1 - one) for one in best_B]


def _why(one: Looked, ranks: dict[str, np.ndarray], row: int) -> str:
    words = {
        "margin": "the answer is nearly another one",
        "disagreement": f"the baseline says {one.other}"
        if one.other != one.verdict
        else "the baseline is of another mind",
        "distance": "it is unlike what was learned",
    }
    told = [words[name] for name, rank in ranks.items() if rank[row] >= _HIGH]
    return "; ".join(told) or "like others"

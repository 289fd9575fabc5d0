"""Near-duplicates among what an adaptation learns from, found in its stored prefixes.

Shapes: N samples, V stored views, B samples of a piece, C cells, D width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from moekit.backbone.model import MoEBackbone
from moekit.data.near.coded import Coded
from moekit.data.near.codes import Coder
from moekit.data.near.find import Found, Progress, find_across, find_within
from moekit.data.near.in_words import FAULTS, failed, pairs_in_words
from moekit.data.samples import Sample
from moekit.runs.near import draw_pairs, write_codes
from moekit.runs.run import Run
from moekit.runtime.cells import cells_of
from moekit.training.prefix import PrefixStore

FITTED = 2000
"""Samples that a coder is made of, evenly spread."""
MIRROR = 2
"""The number of the view that is the left-right mirror."""
_PIECE = 64


def check_learned(
    run: Run,
    stores: dict[str, PrefixStore],
    backbone: MoEBackbone,
    on_progress: Progress,
    on_note: Callable[[str], None],
    *,
    most: int,
) -> dict[str, Any]:
    """Looks for near-duplicates between the training and the validation split.

    The codes are kept in the run, to compare what it is evaluated on. A failure is recorded and
    stops nothing.

    Args:
        run: The run.
        stores: The stored prefixes of `train` and `val`.
        backbone: Made them.
        on_progress: Called with the step, what is done of it and its total.
        on_note: Called with each sentence for the user.
        most: Pairs that are compared by pixels at most.

    Returns:
        What run.json says of it.
    """
    try:
        record = _check(run, stores, backbone, on_progress, most)
    except FAULTS as error:
        record = failed(error)
    for sentence in record["in_words"]:
        on_note(sentence)
    return record


def _check(
    run: Run,
    stores: dict[str, PrefixStore],
    backbone: MoEBackbone,
    on_progress: Progress,
    most: int,
) -> dict[str, Any]:
    train, val = stores["train"], stores["val"]
    total = len(train) + len(val)
    coder = fit_coder(train)
    done = 0

    def step(count: int) -> None:
        nonlocal done
        done += count
        on_progress("reading features", done, total)

    learned = coded(train, coder, on_done=step, mirrored=True)
    held = coded(val, coder, on_done=step)
    device = next(backbone.parameters()).device
    found = find_across(learned, held, most=most, device=device, on_progress=on_progress)
    variants = learned.codes_NVW.shape[1]
    codes = np.concatenate([learned.codes_NVW, np.repeat(held.codes_NVW, variants, axis=1)])
    ids = [one.id for one in (*learned.samples, *held.samples)]
    draw_pairs(run, "adapt", found.pairs)
    return {
        "checked": True,
        "between": ["train", "val"],
        **found.as_json(),
        "codes_sha256": write_codes(run, coder, codes, ids),
        "in_words": pairs_in_words(found, "val", ["train"]),
    }


def find_in_store(store: PrefixStore, backbone: MoEBackbone, *, on_progress: Progress) -> Found:
    """Near-duplicates among all samples of a stored prefix."""
    found = coded(store, fit_coder(store))
    device = next(backbone.parameters()).device
    return find_within(found, device=device, on_progress=on_progress)


def fit_coder(store: PrefixStore) -> Coder:
    """The coder of a stored prefix."""
    rows = np.unique(np.linspace(0, len(store) - 1, FITTED).round().astype(np.int64))
    return Coder.fit(np.concatenate([cells for _, cells in _cells(store, rows, 0)]))


def coded(
    store: PrefixStore,
    coder: Coder,
    *,
    mirrored: bool = False,
    on_done: Callable[[int], None] = lambda _: None,
) -> Coded:
    """The samples of a stored prefix with their codes; windows of one picture are one sample.

    Args:
        store: The prefix.
        coder: Makes the codes.
        mirrored: Whether the mirrored view is a variant too, if it is stored.
        on_done: Called with the samples that were read since.
    """
    numbers = store.plan.numbers
    places = [0, *([numbers.index(MIRROR)] if mirrored and MIRROR in numbers else [])]
    variants: list[np.ndarray] = []
    samples: list[Sample] = []
    for place in places:
        codes = []
        samples = []
        every = np.arange(len(store))
        told = on_done if not place else lambda _: None
        for sample, cells in whole_cells(store, every, place, told):
            samples.append(sample)
            codes.append(coder.codes(cells[None]))
        variants.append(np.concatenate(codes))
    return Coded(
        samples=samples,
        codes_NVW=np.stack(variants, axis=1),
        frames=store.grid.frames,
        bits=store.plan.preprocess.bits,
    )


def whole_cells(
    store: PrefixStore,
    rows: np.ndarray,
    place: int,
    on_done: Callable[[int], None] = lambda _: None,
) -> Iterator[tuple[Sample, np.ndarray]]:
    """Each picture with its cells, (C, D), the mean of those of its windows.

    Args:
        store: The prefix.
        rows: (n,) positions in its samples; windows of a picture follow each other.
        place: Of the stored view.
        on_done: Called with the samples that were read since.
    """
    waiting: Sample | None = None
    sums, count = np.zeros(0), 0
    for part, cells_BCD in _cells(store, rows, place):
        for row, cells in zip(part, cells_BCD, strict=True):
            sample = store.samples[row]
            if waiting is None or waiting.id != sample.id:
                if waiting is not None:
                    yield waiting, sums / count
                waiting, sums, count = dataclasses.replace(sample, window=None), cells.copy(), 1
            else:
                sums, count = sums + cells, count + 1
        on_done(len(part))
    if waiting is not None:
        yield waiting, sums / count


def _cells(
    store: PrefixStore, rows: np.ndarray, place: int
) -> Iterator[tuple[Sequence[int], np.ndarray]]:
    """Rows piece by piece, with (B, C, D) cells of a stored view."""
    size = max(1, _PIECE // store.grid.frames)
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        x_BND, _ = store.read(part, np.full_like(part, place))
        yield part.tolist(), cells_of(x_BND, store.grid)

"""Near-duplicates of an evaluated split among what the run learned from, and figures without them.

Shapes: B inputs of a part, C cells, D width.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from moekit.contract.answers import Tally
from moekit.data.near.coded import Coded
from moekit.data.near.codes import Coder
from moekit.data.near.find import Progress, find_across
from moekit.data.near.in_words import FAULTS, failed, items_of, pairs_in_words
from moekit.data.samples import SPLITS, Dataset, Sample
from moekit.evaluation.bootstrap import Resamples
from moekit.evaluation.needs import Metric, headline, usable_metrics
from moekit.evaluation.summary import figures, measure
from moekit.runs.near import draw_pairs, read_codes
from moekit.runs.run import Run

UNKNOWN = (
    "near-duplicates were not looked for: the run was made by a version that kept no codes of "
    "what it learned from"
)
SKIPPED = "near-duplicates were not looked for, as was asked: figures may be too good"
NO_PAIRS = (
    "near-duplicates were not looked for, since the recipe of the run compares no pairs: figures "
    "may be too good"
)
OTHERS = "near-duplicates were not looked for: what the run learned from is not among these data"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answered:
    """The items of a pass, as the kit answered them.

    Attributes:
        samples: Those that could be read, in the order of the pass.
        tally: The kit's, of the same items.
        point: The kit's point.
        metrics: The headline first.
        known: Their figures on all items.
        picture: Gives a reduced picture of each item.
        seed: Of the bootstrap.
    """

    samples: Sequence[Sample]
    tally: Tally
    point: Any
    metrics: Sequence[Metric]
    known: Mapping[str, Any]
    picture: Callable[[int], Image.Image]
    seed: int


class NearSearch:
    """Collects codes during the pass over a split, then compares them with the run's.

    A failure is recorded and stops nothing.

    Args:
        run: The run, with the codes of what it learned from.
        dataset: Split data.
        split: The split that is evaluated.
        wanted: Whether they are looked for; if not, the result says so.
    """

    def __init__(self, run: Run, dataset: Dataset, split: str, *, wanted: bool = True) -> None:
        self._run, self._dataset, self._split = run, dataset, split
        self._codes: list[np.ndarray] = []
        self._failure: dict[str, Any] | None = None
        self._coder: Coder | None = None
        self._most = run.recipe().near_duplicate_pairs
        if not wanted or not self._most:
            why = NO_PAIRS if wanted else SKIPPED
            self._failure = {"checked": False, "why": why, "in_words": [why]}
            return
        try:
            known = read_codes(run)
        except FAULTS as error:
            self._failure = failed(error)
            return
        if known is None:
            self._failure = {"checked": False, "why": UNKNOWN, "in_words": []}
            return
        self._coder, self._learned_NVW, self._ids = known

    @property
    def wants_cells(self) -> bool:
        """Whether the pass is to tell what the frozen blocks say."""
        return self._failure is None

    def add(self, cells_BCD: np.ndarray) -> None:
        """Takes what the frozen blocks say of some inputs, in the order of the pass."""
        if self._coder is None or self._failure is not None:
            return
        try:
            self._codes.append(self._coder.codes(cells_BCD))
        except FAULTS as error:
            self._failure = failed(error)

    def finish(
        self, answered: Answered, *, device: torch.device | str, on_progress: Progress
    ) -> dict[str, Any]:
        """What result.json says of near-duplicates.

        Args:
            answered: The items of the pass.
            device: Where codes are compared.
            on_progress: Called with the step, what is done of it and its total.
        """
        if self._failure is not None:
            return self._failure
        try:
            return self._finish(answered, device, on_progress)
        except FAULTS as error:
            return failed(error)

    def _finish(
        self, answered: Answered, device: torch.device | str, on_progress: Progress
    ) -> dict[str, Any]:
        began = time.perf_counter()
        known = {one.id: one for one in self._dataset.samples if one.split != self._split}
        rows = [row for row, name in enumerate(self._ids) if name in known]
        learned = [known[self._ids[row]] for row in rows]
        present = {one.split for one in learned}
        if not learned:
            return {"checked": False, "why": OTHERS, "in_words": [OTHERS]}
        found = find_across(
            Coded(
                samples=learned,
                codes_NVW=self._learned_NVW[rows],
                frames=self._dataset.frames,
                bits=self._run.bits(),
            ),
            Coded(
                samples=answered.samples,
                codes_NVW=np.concatenate(self._codes)[:, None],
                kept=answered.picture,
            ),
            most=self._most,
            device=device,
            on_progress=on_progress,
        )
        others = [name for name in SPLITS if name in present]
        draw_pairs(self._run, "evaluate", found.pairs)
        ids = items_of(found, self._split)
        told = pairs_in_words(found, self._split, others)
        without = _without(ids, answered)
        if without is not None:
            told.append(without["in_words"])
        return {
            "checked": True,
            "between": [self._split, *others],
            "items": len(ids),
            **found.as_json(),
            "seconds": round(time.perf_counter() - began, 2),
            "without": without,
            "in_words": told,
        }


def _without(ids: Sequence[str], answered: Answered) -> dict[str, Any] | None:
    """The headline metric without items that have a near-duplicate; None if it tells nothing.

    If items are no rows of the tally, or what is left cannot be measured, there is none.
    """
    tally, point = answered.tally, answered.point
    leading = headline(answered.metrics, tally, point)
    twins = set(ids)
    kept = [row for row, name in enumerate(tally.ids) if name not in twins]
    whole = None if leading is None else answered.known.get(leading.name)
    if leading is None or whole is None or not kept or len(kept) == len(tally.ids):
        return None
    part = tally.take(np.array(kept))
    usable, _ = usable_metrics([leading], part, point)
    if not usable:
        return None
    measured = measure(usable, part, point, Resamples(part, seed=answered.seed))
    named = figures(measured, n=len(part))[leading.name]
    return {
        "metric": leading.name,
        "all": whole,
        "without": named,
        "in_words": f"{leading.name} {_said(whole)} on all {len(tally)} items, "
        f"{_said(named)} on the {len(part)} without near-duplicates",
    }


def _said(entry: dict[str, Any]) -> str:
    if entry["value"] is None:
        return "undefined"
    interval = entry["ci95"]
    told = f"{entry['value']:.4f}"
    return told if interval is None else f"{told} [{interval[0]:.4f}, {interval[1]:.4f}]"

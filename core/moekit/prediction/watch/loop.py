"""Scoring images as they arrive in a folder: a row each, a summary, and checks against drift.

```
OUT/
  results.jsonl   what the verdicts depend on, then one line an image
  summary.json    counts, durations, rates, drift; rewritten every few seconds
  golden.json     scores of the golden images, where there are some
  overlays/       heatmaps of the images that are not passed, the newest
```
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from moekit.data.stream import Preprocess, read_sample
from moekit.errors import MoekitError
from moekit.files import write_json
from moekit.prediction.watch.drift import ProcessDrift
from moekit.prediction.watch.feed import Feed, Ready
from moekit.prediction.watch.golden import GoldenSet
from moekit.prediction.watch.job import Watch, check_folders
from moekit.prediction.watch.overlays import KeptOverlays
from moekit.prediction.watch.source import Arrivals
from moekit.prediction.watch.tally import LineResult, Tally, starts_of
from moekit.runs.facts import machine, now, versions
from moekit.runs.journal import Journal, read_journal
from moekit.runtime.predictor import Scorer, Scores
from moekit.tasks.score.masks import Size
from moekit.tasks.score.overlay import LONG_SIDE
from moekit.tasks.score.regions import Region, find_regions
from moekit.tasks.score.threshold import UNREADABLE, verdict

SCHEMA = 1
_WAIT = 0.1
_PATIENCE = 3
"""A summary that is due is written in a pause of the line, or once it is that many times late."""


def watch(
    task: Watch,
    *,
    scorer: Scorer,
    preprocess: Preprocess,
    stop: threading.Event,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Scores images as they arrive; what earlier calls have scored is not scored again.

    Args:
        task: What to do.
        scorer: Scores a batch, as `Predictor` does; called in this thread.
        preprocess: How images are read.
        stop: Ends the watch after the images in hand once it is set, from a signal or a thread.
        tell: Called with sentences for whoever looks after the line.

    Returns:
        The content of summary.json.

    Raises:
        DataError: The folder does not exist, or a golden image cannot be read.
        MoekitError: The golden images have other scores than at first.
        StorageError: The output cannot be written; the same call then goes on.
        UsageError: A folder lies in another where it must not, or the output folder holds results
            that were made otherwise.
    """
    check_folders(task.folder, task.out, task.golden)
    return _Line(task, scorer, preprocess, tell).run(stop)


class _Line:
    """One start of a watch."""

    def __init__(
        self,
        task: Watch,
        scorer: Scorer,
        preprocess: Preprocess,
        tell: Callable[[str], None],
    ) -> None:
        self._task, self._scorer, self._preprocess, self._tell = task, scorer, preprocess, tell
        self._journal = task.out / "results.jsonl"
        self._summary = task.out / "summary.json"
        drift = ProcessDrift(task.reference, window=task.window)
        rows = _read_rows(self._journal, task.provenance)
        self._tally = Tally(rows, drift=drift, batch_size=task.batch_size)
        self._starts = starts_of(self._summary)
        self._overlays = KeptOverlays(task.out, which=task.overlays, keep=task.keep)
        self._feed = self._make_feed()
        self._golden: GoldenSet | None = None
        self._golden_facts: dict[str, Any] | None = None
        self._golden_due = task.golden_every or 0
        self._written, self._written_rows = time.monotonic(), -1
        self._drift_told = self._lag_told = False
        self._trouble_told = ""

    def run(self, stop: threading.Event) -> dict[str, Any]:
        """Scores until the end; returns the summary, which is written whatever happens."""
        if self._tally.earlier:
            self._tell(f"{self._tally.earlier} images have a row already and are passed over")
        ended = "failed"
        try:
            with Journal(self._journal, self._task.provenance) as journal:
                self._write_summary("running")
                self._open_golden()
                # The first pass allocates and casts; no image of the line is to wait for that.
                self._scorer(torch.zeros(1, *self._preprocess.shape))
                self._tally.begin()
                with self._feed:
                    ended = self._consume(journal, stop)
        finally:
            self._tell_drift()
            summary = self._write_summary(ended)
        return summary

    def _make_feed(self) -> Feed:
        task = self._task
        arrivals = Arrivals(
            task.folder, seen=self._tally.names, settle=task.settle, tries=task.tries
        )
        pictures = None if task.overlays == "none" else LONG_SIDE

        def read(path: Path) -> tuple[Tensor, Size, Image.Image | None]:
            return read_sample(path, self._preprocess, pictures)

        return Feed(arrivals, read, length=task.queue, once=task.once, idle=task.idle)

    def _consume(self, journal: Journal, stop: threading.Event) -> str:
        while not stop.is_set():
            batch = self._feed.take(self._task.batch_size, timeout=_WAIT)
            if batch:
                self._finish(batch, journal)
                self._check_golden_if_due()
            elif self._feed.is_over():
                return "once" if self._task.once else "idle"
            self._keep_house()
        return "stopped"

    def _finish(self, batch: Sequence[Ready], journal: Journal) -> None:
        """Scores a batch and writes its rows."""
        tensors = [one.tensor for one in batch if one.tensor is not None]
        output: Scores | None = None
        if tensors:
            output = self._scorer(torch.stack(tensors))
            self._tally.add_pass(output.seconds)
        rows = list(self._rows(batch, output))
        journal.append(dataclasses.asdict(row) for row in rows)
        written = time.monotonic()
        for one, row in zip(batch, rows, strict=True):
            scoring = None if one.tensor is None or output is None else output.seconds
            self._tally.add(row, latency=written - one.whole_at, scoring=scoring)

    def _rows(self, batch: Sequence[Ready], output: Scores | None) -> Iterator[LineResult]:
        task = self._task
        place = 0
        for one in batch:
            score, told, overlay, kind = None, UNREADABLE, "", ""
            regions: list[Region] = []
            if one.tensor is not None and output is not None:
                score = float(output.score_B[place])
                kind = "" if output.kinds is None else output.kinds[place]
                told = verdict(
                    score,
                    threshold=task.threshold,
                    review=task.review,
                    positive=task.positive,
                    kind=kind,
                )
                evidence = None if output.map_BHW is None else output.map_BHW[place].numpy()
                if evidence is not None:
                    regions = find_regions(evidence, threshold=task.threshold, size=one.size)
                overlay = self._overlays.save(one.name, told, one.picture, evidence)
                place += 1
            yield LineResult(
                file=one.name,
                score=score,
                verdict=told,
                threshold=task.threshold,
                overlay=overlay,
                error=one.error,
                kind=kind,
                regions=regions,
                time=now(),
            )

    def _open_golden(self) -> None:
        task = self._task
        if task.golden is not None:
            self._golden = GoldenSet(
                task.golden,
                record=task.out / "golden.json",
                provenance=task.made_with,
                scorer=self._scorer,
                preprocess=self._preprocess,
                tolerance=task.golden_tolerance,
            )
            self._check_golden()

    def _check_golden_if_due(self) -> None:
        if self._task.golden_every is not None and self._tally.session >= self._golden_due:
            self._golden_due = self._tally.session + self._task.golden_every
            self._check_golden()

    def _check_golden(self) -> None:
        if self._golden is not None:
            try:
                self._golden_facts = self._golden.check()
            except MoekitError as error:
                self._golden_facts = {"failed": error.what, "checked": now()}
                raise

    def _keep_house(self) -> None:
        """Writes the summary where it is due, and tells what the line's keeper must know."""
        late = time.monotonic() - self._written
        every = self._task.summary_every
        if late < every or not (self._feed.empty or late >= _PATIENCE * every):
            return
        self._tell_lag()
        if self._feed.trouble != self._trouble_told:
            self._trouble_told = self._feed.trouble
            self._tell(self._trouble_told or "the folder can be listed again")
        if self._tally.session != self._written_rows:
            self._tell_drift()
            self._write_summary("running")
        self._written = time.monotonic()

    def _tell_lag(self) -> None:
        waiting = self._feed.backlog
        if waiting and not self._lag_told and not self._task.once:
            self._tell(
                f"scoring lags behind: {waiting} images wait beside a queue of {self._task.queue}"
            )
            self._lag_told = True
        elif self._lag_told and self._feed.empty and not waiting:
            self._tell("scoring has caught up")
            self._lag_told = False

    def _tell_drift(self) -> None:
        shift = self._tally.measure_drift()
        if shift is not None and shift.drifted and not self._drift_told:
            self._drift_told = True
            self._tell(
                f"the scores of the last {shift.n} images are not distributed as those of the "
                f"reference ({shift.reference}, n = {shift.reference_n}): their median has moved "
                f"by {shift.median_shift:+.1f} spreads, Kolmogorov-Smirnov D = {shift.ks:.2f}, "
                f"p = {shift.p:.1g}; look at light, camera and parts"
            )

    def _write_summary(self, ended: str) -> dict[str, Any]:
        feed = self._feed
        summary = {
            "schema": SCHEMA,
            **self._task.provenance,
            "state": ended,
            "starts": self._starts,
            "updated": now(),
            **self._tally.as_json(),
            "queue": {
                "length": self._task.queue,
                "greatest": feed.greatest,
                "greatest_backlog": feed.greatest_backlog,
                "full": feed.full,
                "full_seconds": feed.full_seconds,
            },
            "golden": self._golden_facts,
            "machine": machine(),
            "versions": versions(),
        }
        write_json(self._summary, summary)
        self._written_rows = self._tally.session
        return summary


def _read_rows(journal: Path, provenance: Mapping[str, Any]) -> Iterator[LineResult]:
    for values in read_journal(journal, provenance):
        try:
            yield LineResult(**values)
        except TypeError:
            continue

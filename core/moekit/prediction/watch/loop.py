"""Scoring images as they arrive in a folder: a row each, a summary, and checks against drift.

```
OUT/
  results.jsonl   what the verdicts depend on, then one line an image
  summary.json    counts, durations, rates, drift; rewritten every few seconds
  golden.json     scores of the golden images, if there are some
  overlays/       heatmaps of the images that are not passed, the newest
```
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from moekit.contract.answers import Answer, Item
from moekit.data.content import Contents
from moekit.data.pictures import LONG_SIDE
from moekit.data.stream import ReadSample, batch_of, read_sample
from moekit.errors import MoekitError
from moekit.files import write_json
from moekit.outputs import outputs_note
from moekit.prediction.earlier import CONTENT
from moekit.prediction.predict import read_rows
from moekit.prediction.watch.drift import ProcessDrift
from moekit.prediction.watch.feed import Feed, Ready
from moekit.prediction.watch.golden import GoldenSet
from moekit.prediction.watch.job import WatchJob, check_folders
from moekit.prediction.watch.overlays import KeptOverlays
from moekit.prediction.watch.source import Arrivals
from moekit.prediction.watch.tally import LineTally, starts_of
from moekit.runs.facts import machine, now, versions
from moekit.runs.journal import Journal
from moekit.runtime.answerer import Answerer, Row

SCHEMA = 1
_WAIT = 0.1
_PATIENCE = 3
"""A summary that is due is written in a pause of the line, or once it is that many times late."""


def watch(
    job: WatchJob,
    *,
    answerer: Answerer,
    stop: threading.Event,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Scores images as they arrive; what earlier calls have scored is not scored again.

    An image is known by its content: another one of a name that was scored is scored again.

    Args:
        job: What to do.
        answerer: The trained run; it computes in this thread.
        stop: Ends the watch after the images in hand once it is set, from a signal or a thread.
        tell: Called with sentences for whoever looks after the line.

    Returns:
        The content of summary.json.

    Raises:
        DataError: The folder does not exist, or a golden image cannot be read.
        MoekitError: The golden images have other scores than at first.
        StorageError: The output cannot be written; the same call then goes on.
        UsageError: A folder lies in another and must not, or the output folder holds results
            that were made otherwise.
    """
    check_folders(job.folder, job.out, job.golden)
    return _Line(job, answerer, tell).run(stop)


class _Line:
    """One start of a watch."""

    def __init__(
        self,
        job: WatchJob,
        answerer: Answerer,
        tell: Callable[[str], None],
    ) -> None:
        self._job, self._answerer, self._tell = job, answerer, tell
        self._show = answerer.task.show
        self._journal = job.out / "results.jsonl"
        self._summary = job.out / "summary.json"
        drift = ProcessDrift(job.reference, window=job.window)
        columns = ("file", *self._show.columns, "time")
        rows = read_rows(self._journal, dict(job.provenance), columns)
        self._tally = LineTally(
            rows, monitor=self._show.monitor, drift=drift, batch_size=job.batch_size
        )
        self._starts = starts_of(self._summary)
        self._overlays = KeptOverlays(
            job.out, which=job.overlays, keep=job.keep, quiet=self._show.quiet
        )
        self._feed = self._make_feed()
        self._golden: GoldenSet | None = None
        self._golden_facts: dict[str, Any] | None = None
        self._golden_due = job.golden_every or 0
        self._written, self._written_rows = time.monotonic(), -1
        self._drift_told = self._lag_told = self._again_told = False
        self._trouble_told = ""
        self._remarks_told: tuple[str, ...] = ()
        self._outputs_told: tuple[tuple[str, str], ...] = ()

    def run(self, stop: threading.Event) -> dict[str, Any]:
        """Scores until the end; returns the summary, which is written whatever happens."""
        if self._tally.earlier:
            self._tell(
                f"{self._tally.earlier} images have a row already; those that are as they were are "
                "passed over"
            )
        ended = "failed"
        try:
            with Journal(self._journal, self._job.provenance) as journal:
                self._write_summary("running")
                self._open_golden()
                # The first pass allocates and casts; no image of the line is to wait for that.
                answerer = self._answerer
                answerer.compute(torch.zeros(1, *answerer.preprocess.shape))
                self._tally.begin()
                with self._feed:
                    ended = self._consume(journal, stop)
        finally:
            self._tell_outputs()
            self._tell_drift()
            summary = self._write_summary(ended)
        return summary

    def _make_feed(self) -> Feed:
        job = self._job
        known, contents = dict(self._tally.contents), Contents()
        arrivals = Arrivals(job.folder, seen=known, settle=job.settle, tries=job.tries)
        pictures = None if job.overlays == "none" else LONG_SIDE

        def read(path: Path) -> ReadSample:
            return read_sample(path, self._answerer.preprocess, pictures, contents=contents)

        return Feed(
            arrivals,
            read,
            length=job.queue,
            once=job.once,
            idle=job.idle,
            known=known,
            contents=contents,
        )

    def _consume(self, journal: Journal, stop: threading.Event) -> str:
        while not stop.is_set():
            batch = self._feed.take(self._job.batch_size, timeout=_WAIT)
            if batch:
                self._finish(batch, journal)
                self._check_golden_if_due()
            elif self._feed.is_over():
                return "once" if self._job.once else "idle"
            self._keep_house()
        return "stopped"

    def _finish(self, batch: Sequence[Ready], journal: Journal) -> None:
        """Scores a batch and writes its rows."""
        if len({one.name for one in batch}) < len(batch):  # a name that was used again meanwhile
            for one in batch:
                self._finish([one], journal)
            return
        for one in batch:
            self._forget(one.name)
        answered, seconds = self._answers(batch)
        rows = list(self._rows(batch, answered))
        journal.append(rows)
        written = time.monotonic()
        for one, row in zip(batch, rows, strict=True):
            scoring = None if one.read is None else seconds
            self._tally.add(row, latency=written - one.whole_at, scoring=scoring)
        self._tell_remarks()

    def _answers(self, ready: Sequence[Ready]) -> tuple[dict[str, tuple[Item, Answer]], float]:
        """What could be read, answered, and how long it was computed."""
        answerer, seconds = self._answerer, 0.0
        names = [one.name for one in ready]
        read = [one.error if one.read is None else one.read for one in ready]
        batch = batch_of(names, range(len(names)), read, answerer.preprocess)
        answered: dict[str, tuple[Item, Answer]] = {}
        for items, computed in answerer.computed(
            batch, names.__getitem__, batch_size=self._job.batch_size
        ):
            found = answerer.answers(computed.kit, items)
            pairs = zip(items, found, strict=True)
            answered |= {item.id: (item, answer) for item, answer in pairs}
            seconds += computed.seconds
        if answered:
            self._tally.add_pass(seconds)
        return answered, seconds

    def _rows(
        self, batch: Sequence[Ready], answered: Mapping[str, tuple[Item, Answer]]
    ) -> Iterator[Row]:
        for one in batch:
            if one.read is None:
                row = self._answerer.unreadable(one.name, one.error)
            else:
                item, answer = answered[one.name]
                overlay = self._overlay(one.read.picture, item, answer)
                row = self._answerer.row(
                    one.name, answer, overlay=overlay, remarks=one.read.remarks
                )
            yield {**row, CONTENT: one.content, "time": now()}

    def _forget(self, name: str) -> None:
        """Removes the overlay of an image that is scored again, and says so the first time."""
        if name not in self._tally.contents:
            return
        self._overlays.forget(name)
        if not self._again_told:
            self._again_told = True
            self._tell(
                f"{name} was scored with another content, or by a version that did not record it; "
                "it is scored again, as all such images; summary.json counts them"
            )

    def _overlay(self, picture: Image.Image | None, item: Item, answer: Answer) -> str:
        if picture is None or not self._overlays.wants(answer.verdict):
            return ""
        drawn = self._show.draw(picture, answer, item, self._answerer.context)
        return "" if drawn is None else self._overlays.save(item.id, drawn)

    def _measure(self, path: Path) -> float:
        """The number of an image by which the line is watched; alone in its forward pass."""
        answerer = self._answerer
        read = read_sample(path, answerer.preprocess, None)
        batch = batch_of([path.name], [0], [read], answerer.preprocess)
        ((items, computed),) = answerer.computed(batch, lambda _: path.name, batch_size=1)
        (answer,) = answerer.answers(computed.kit, items)
        return float(answer.as_row()[self._show.monitor])

    def _open_golden(self) -> None:
        job = self._job
        if job.golden is not None:
            self._golden = GoldenSet(
                job.golden,
                record=job.out / "golden.json",
                provenance=job.made_with,
                measure=self._measure,
                tolerance=job.golden_tolerance,
            )
            self._check_golden()

    def _check_golden_if_due(self) -> None:
        if self._job.golden_every is not None and self._tally.session >= self._golden_due:
            self._golden_due = self._tally.session + self._job.golden_every
            self._check_golden()

    def _check_golden(self) -> None:
        if self._golden is not None:
            try:
                self._golden_facts = self._golden.check()
            except MoekitError as error:
                told = {"failed": error.what, "code": error.code, "checked": now()}
                self._golden_facts = told
                raise

    def _keep_house(self) -> None:
        """Writes the summary if it is due, and prints what the line's keeper must know."""
        late = time.monotonic() - self._written
        every = self._job.summary_every
        if late < every or not (self._feed.empty or late >= _PATIENCE * every):
            return
        self._tell_lag()
        self._tell_outputs()
        if self._feed.trouble != self._trouble_told:
            self._trouble_told = self._feed.trouble
            self._tell(self._trouble_told or "the folder can be listed again")
        if self._tally.session != self._written_rows:
            self._tell_drift()
            self._write_summary("running")
        self._written = time.monotonic()

    def _tell_remarks(self) -> None:
        """Prints what is guessed of the files, once there is something new."""
        if self._tally.remarks.kinds != self._remarks_told:
            self._remarks_told = self._tally.remarks.kinds
            for sentence in self._tally.remarks.sentences():
                self._tell(sentence)

    def _tell_outputs(self) -> None:
        """Prints which folders are passed over, once there is another one."""
        if self._feed.outputs != self._outputs_told:
            self._outputs_told = self._feed.outputs
            for sentence in outputs_note(self._outputs_told):
                self._tell(sentence)

    def _tell_lag(self) -> None:
        waiting = self._feed.backlog
        if waiting and not self._lag_told and not self._job.once:
            self._tell(
                f"scoring lags behind: {waiting} images wait above a queue of {self._job.queue}"
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
            **self._job.provenance,
            "state": ended,
            "starts": self._starts,
            "updated": now(),
            **self._tally.as_json(),
            "queue": {
                "length": self._job.queue,
                "greatest": feed.greatest,
                "greatest_backlog": feed.greatest_backlog,
                "full": feed.full,
                "full_seconds": feed.full_seconds,
            },
            "left_out": list(outputs_note(feed.outputs)),
            "golden": self._golden_facts,
            "machine": machine(),
            "versions": versions(),
        }
        write_json(self._summary, summary)
        self._written_rows = self._tally.session
        return summary

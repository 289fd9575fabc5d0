"""What a line has scored so far, over all its starts, and what its summary says of it."""

from __future__ import annotations

import collections
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from moekit.data.remarks import RemarkTally
from moekit.errors import DataError
from moekit.files import read_json
from moekit.prediction.earlier import CONTENT
from moekit.prediction.watch.drift import ProcessDrift, Shift
from moekit.prediction.watch.latency import Durations
from moekit.runs.facts import now
from moekit.runtime.answerer import Row, remarks_in


class LineTally:
    """Counts of all rows, and durations of this start.

    Args:
        rows: What earlier starts have scored.
        monitor: The column of a row that holds the number which the line is watched by.
        drift: Gets every such number.
        batch_size: Most images a forward pass.
    """

    def __init__(
        self, rows: Iterable[Row], *, monitor: str, drift: ProcessDrift, batch_size: int
    ) -> None:
        self.contents: dict[str, str] = {}
        """By name, the hash of the content that was scored last; empty if no row says it."""
        self._names: dict[str, str] = {}  # of each content, the first
        self._rows = self._again = self._copies = 0
        self.shift: Shift | None = None
        self.remarks = RemarkTally()
        """What was guessed of the files."""
        self._verdicts: collections.Counter[str] = collections.Counter()
        self._monitor = monitor
        self._drift = drift
        self._batch_size = batch_size
        self._latency, self._scoring = Durations(), Durations()
        self._busy = 0.0
        self._passes = 0
        for row in rows:
            self._count(row)
        self.earlier = self._rows
        """How many images have a row from earlier starts."""
        self._began: float | None = None

    def begin(self) -> None:
        """Begins to count the time of this start."""
        self._began = time.monotonic()

    @property
    def session(self) -> int:
        """How many images this start has scored or found unreadable."""
        return self._rows - self.earlier

    def add(self, row: Row, *, latency: float, scoring: float | None) -> None:
        """Counts a row that was written.

        Args:
            row: The row.
            latency: From when the file was found to be whole to when the row was written, in
                seconds.
            scoring: Seconds of the forward pass that the image was in; None if it was in none.
        """
        self._count(row)
        self._latency.add(latency)
        if scoring is not None:
            self._scoring.add(scoring)

    def add_pass(self, seconds: float) -> None:
        """Counts a forward pass."""
        self._busy += seconds
        self._passes += 1

    def measure_drift(self) -> Shift | None:
        """Compares the last scores with the reference, and remembers the shift."""
        self.shift = self._drift.measure()
        return self.shift

    def as_json(self) -> dict[str, Any]:
        """Counts, durations, rates and drift, for the summary."""
        seconds = 0.0 if self._began is None else time.monotonic() - self._began
        return {
            "n": self._rows,
            "again": self._again,
            "copies": self._copies,
            "verdicts": dict(sorted(self._verdicts.items())),
            "session": {
                "n": self.session,
                "seconds": seconds,
                "images_per_s": self.session / seconds if seconds > 0 else 0.0,
                "scoring_share": self._busy / seconds if seconds > 0 else 0.0,
                "batch_size": self._batch_size,
                "passes": self._passes,
            },
            "latency_s": self._latency.as_json(),
            "scoring_s": self._scoring.as_json(),
            "notes": list(self.remarks.sentences()),
            "drift": None if self.shift is None else self.shift.as_json(),
        }

    def _count(self, row: Row) -> None:
        self._rows += 1
        self._again += row["file"] in self.contents
        content = self.contents[row["file"]] = row.get(CONTENT) or ""
        if content and self._names.setdefault(content, row["file"]) != row["file"]:
            self._copies += 1  # a camera that stands still gives one picture many names
        self._verdicts[row["verdict"]] += 1
        self.remarks.add(row["file"], remarks_in(row))
        number = row[self._monitor]
        if isinstance(number, float):
            self._drift.add(number)


def starts_of(summary: Path) -> list[str]:
    """The times of all starts, this one included, in UTC, as ISO 8601."""
    try:
        earlier = list(map(str, read_json(summary)["starts"])) if summary.exists() else []
    except (DataError, KeyError, TypeError):  # the journal counts, not the summary
        earlier = []
    return [*earlier, now()]

"""Scores next to labels: what thresholds and metrics are computed from."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from moekit.data.samples import Sample
from moekit.errors import DataError
from moekit.files import atomic_text, read_text
from moekit.tables import CsvWriter, csv_table
from moekit.tasks.parts.names import names_at, optional_names
from moekit.tasks.score.threshold import OperatingPoint

_COLUMNS = ("id", "label", "score", "baseline_score", "group", "subtype")
RECOGNISED = "recognised"
"""The fact of a prediction that holds the kind of image that the kit took it for."""
_FACT = "fact "
"""Begins the name of a column that holds a fact."""


_SHOWN_WORST = 6


class Places(NamedTuple):
    """What a model said of where its images are positive; in memory only.

    Attributes:
        samples: (n) the samples.
        sizes: (n) rows and columns of their images.
        maps: (n) (h, w) maps in [0, 1], or None each.
    """

    samples: tuple[Sample, ...]
    sizes: tuple[tuple[int, int], ...]
    maps: tuple[np.ndarray | None, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Predictions:
    """One score an image, of the kit and of its baseline, in the order of the data set.

    Attributes:
        ids: (n) sample ids.
        labels: (n,) int64 in {0, 1}.
        scores: (n,) float64 in [0, 1], the kit's probability of the positive class.
        baseline_scores: (n,) the same from the frozen backbone with the same head, or None.
        groups: (n) group names, or None if the data set has no groups.
        subtypes: (n) stratum names, or None.
        facts: (n) values of each fact of the samples, by its name; empty if a sample lacks it.
        places: Samples, sizes and maps that the scores belong to, while they are in memory.
    """

    ids: tuple[str, ...]
    labels: np.ndarray
    scores: np.ndarray
    baseline_scores: np.ndarray | None = None
    groups: tuple[str, ...] | None = None
    subtypes: tuple[str, ...] | None = None
    facts: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    places: Places | None = dataclasses.field(default=None, compare=False, repr=False)

    @property
    def predictions(self) -> Predictions:
        """Itself: what report sections of API 1.x read."""
        return self

    @property
    def strata_N(self) -> np.ndarray:
        """(n,) the labels: a bootstrap draws negatives and positives separately."""
        return self.labels

    def field(self, name: str) -> np.ndarray | None:
        """`scores` or `labels`; None for any other name."""
        return {"scores": self.scores, "labels": self.labels}.get(name)

    def worst(self, point: OperatingPoint) -> dict[str, np.ndarray]:
        """Rows of the misses farthest from the threshold, the worst first."""
        rejected = self.scores >= point.threshold
        missed = np.flatnonzero((self.labels == 1) & ~rejected)
        alarms = np.flatnonzero((self.labels == 0) & rejected)
        return {
            "missed": missed[np.argsort(self.scores[missed], kind="stable")][:_SHOWN_WORST],
            "false_alarm": alarms[np.argsort(-self.scores[alarms], kind="stable")][:_SHOWN_WORST],
        }

    @classmethod
    def of(
        cls,
        samples: Sequence[Sample],
        scores: np.ndarray,
        baseline_scores: np.ndarray | None = None,
    ) -> Predictions:
        """Scores next to what is known of their samples, in the same order."""
        names = sorted({name for sample in samples for name in sample.facts})
        return cls(
            ids=tuple(sample.id for sample in samples),
            labels=np.array([sample.label for sample in samples], dtype=np.int64),
            scores=scores,
            baseline_scores=baseline_scores,
            groups=optional_names([sample.group or "" for sample in samples]),
            subtypes=optional_names([sample.subtype or "" for sample in samples]),
            facts={name: tuple(sample.facts.get(name, "") for sample in samples) for name in names},
        )

    def __len__(self) -> int:
        return len(self.ids)

    def with_fact(self, name: str, values: Sequence[str]) -> Predictions:
        """The predictions with one more fact of each sample."""
        return dataclasses.replace(self, facts={**self.facts, name: tuple(values)})

    def take(self, rows: np.ndarray) -> Predictions:
        """The predictions at the given row numbers."""
        return Predictions(
            ids=tuple(self.ids[row] for row in rows),
            labels=self.labels[rows],
            scores=self.scores[rows],
            baseline_scores=None if self.baseline_scores is None else self.baseline_scores[rows],
            groups=names_at(self.groups, rows),
            subtypes=names_at(self.subtypes, rows),
            facts={name: tuple(values[row] for row in rows) for name, values in self.facts.items()},
        )

    def write_csv(self, path: Path) -> None:
        """Writes one row an image, scores with all the digits a float64 has."""
        with atomic_text(path) as file:
            writer = CsvWriter(file)
            writer.writerow([*_COLUMNS, *(f"{_FACT}{name}" for name in self.facts)])
            for row, name in enumerate(self.ids):
                baseline = self.baseline_scores[row] if self.baseline_scores is not None else None
                writer.writerow(
                    [
                        name,
                        int(self.labels[row]),
                        repr(float(self.scores[row])),
                        "" if baseline is None else repr(float(baseline)),
                        "" if self.groups is None else self.groups[row],
                        "" if self.subtypes is None else self.subtypes[row],
                        *(values[row] for values in self.facts.values()),
                    ]
                )

    @classmethod
    def read_csv(cls, path: Path) -> Predictions:
        """Reads what `write_csv` wrote.

        Raises:
            DataError: The file is missing or damaged.
        """
        try:
            columns, rows = csv_table(io.StringIO(read_text(path, newline=""), newline=""))
            _check_rows(columns, rows)
            facts = [name for name in columns if name.startswith(_FACT)]
            return cls(
                ids=tuple(row["id"] for row in rows),
                labels=np.array([int(row["label"]) for row in rows], dtype=np.int64),
                scores=np.array([float(row["score"]) for row in rows]),
                baseline_scores=_optional_floats([row["baseline_score"] for row in rows]),
                groups=optional_names([row["group"] for row in rows]),
                subtypes=optional_names([row["subtype"] for row in rows]),
                facts={
                    name.removeprefix(_FACT): tuple(row[name] for row in rows) for name in facts
                },
            )
        except (OSError, KeyError, ValueError, TypeError, OverflowError, csv.Error) as error:
            raise DataError(
                f"the predictions cannot be read ({error})",
                whose=str(path),
                fix="run `moekit evaluate` again",
                code="data/damaged-run",
            ) from error


def _check_rows(columns: Sequence[str], rows: Sequence[Mapping[Any, Any]]) -> None:
    """Refuses a column that is there twice, and rows with another number of cells."""
    if len(set(columns)) < len(columns):
        raise ValueError("a column is there twice")
    for place, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise ValueError(f"row {place} has another number of columns")


def _optional_floats(texts: list[str]) -> np.ndarray | None:
    return np.array([float(text) for text in texts]) if any(texts) else None

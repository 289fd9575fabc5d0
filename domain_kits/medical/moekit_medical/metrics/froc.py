"""The free-response ROC curve of a detector: lesions found against false alarms a scan.

Bunch et al. 1978, Journal of Applied Photographic Engineering 4(4); the competition performance
metric (CPM) as in Niemeijer et al. 2011, IEEE Transactions on Medical Imaging 30(2), and in LUNA16,
Setio et al. 2017, Medical Image Analysis 42:1-13.

A candidate at or above the threshold is a detection. A lesion is found by its best hit; further
hits of the same lesion are neither right nor false. Scans without lesions count in the rate of
false alarms; the lesions of scans that failed count as missed.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from moekit import DataError
from moekit.evaluation import RESAMPLES, resampled_interval

RATES = (1 / 8, 1 / 4, 1 / 2, 1.0, 2.0, 4.0, 8.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Candidates:
    """What a detector proposed in a set of scans, matched with the reference.

    Attributes:
        lesions: Number of lesions of every scan of the set, those without lesions or candidates
            and those that failed included.
        scan_ids: (n) scan of each candidate.
        scores: (n,) score of each candidate.
        hits: (n,) int: the number (from 0, within its scan) of the lesion that a candidate hits,
            or -1.
        failed: Scans that the detector could not process. They have no candidates.

    Raises:
        DataError: The parts do not fit together.
    """

    lesions: Mapping[str, int]
    scan_ids: tuple[str, ...]
    scores: np.ndarray
    hits: np.ndarray
    failed: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        n = len(self.scan_ids)
        if self.scores.shape != (n,) or self.hits.shape != (n,):
            raise _unfit("scan ids, scores and hits differ in number", code="data/array-shape")
        if not set(self.scan_ids) <= set(self.lesions) or not self.failed <= set(self.lesions):
            raise _unfit(
                "a candidate or a failure belongs to a scan that is not in the set",
                code="data/unknown-id",
            )
        if self.failed & set(self.scan_ids):
            raise _unfit("a scan that failed has candidates", code="data/contradiction")
        most = np.array([self.lesions[name] for name in self.scan_ids], dtype=np.int64)
        if (self.hits < -1).any() or (self.hits >= most).any():
            raise _unfit(
                "a candidate hits a lesion that its scan does not have", code="data/contradiction"
            )
        if not np.isfinite(self.scores).all():
            raise _unfit("a score is not a finite number", code="data/bad-scores")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Froc:
    """An FROC curve and what it was computed from.

    Attributes:
        fp_per_scan: (m,) false alarms a scan, ascending from 0.
        sensitivity: (m,) share of lesions found, ascending from 0; nan without lesions.
        thresholds: (m,) descending from infinity.
        sensitivity_at: Sensitivity at each rate of `RATES`.
        cpm: Their mean; nan without lesions.
        cpm_ci95: Its 95% bootstrap interval over scans; None if undefined.
        scans: How many scans.
        lesions: How many lesions.
        failed: How many scans failed.
    """

    fp_per_scan: np.ndarray
    sensitivity: np.ndarray
    thresholds: np.ndarray
    sensitivity_at: tuple[float, ...]
    cpm: float
    cpm_ci95: tuple[float, float] | None
    scans: int
    lesions: int
    failed: int


def evaluate_froc(candidates: Candidates, *, seed: int, resamples: int = RESAMPLES) -> Froc:
    """The FROC curve, its CPM, and a percentile interval from whole scans drawn with replacement.

    Between the points of the curve sensitivity is interpolated linearly, and beyond its last point
    it stays as it is, both as in the evaluation of LUNA16.

    Args:
        candidates: Of all scans.
        seed: Of the bootstrap. The order of candidates and scans has no influence.
        resamples: How many bootstrap samples.

    Raises:
        DataError: There are no scans.
    """
    scans = len(candidates.lesions)
    if not scans:
        raise _unfit("there are no scans", code="data/no-scans")
    events = _Events.of(candidates)
    once = np.ones(scans, dtype=np.int64)
    rates, sensitivity, thresholds = events.curve(once)
    at = np.interp(RATES, rates, sensitivity)
    generator = np.random.default_rng(seed)
    values = np.empty(resamples)
    for sample in range(resamples):
        times = np.bincount(generator.integers(scans, size=scans), minlength=scans)
        values[sample] = _cpm(*events.curve(times)[:2])
    return Froc(
        fp_per_scan=rates,
        sensitivity=sensitivity,
        thresholds=thresholds,
        sensitivity_at=tuple(at.tolist()),
        cpm=float(at.mean()),
        cpm_ci95=resampled_interval(values, scans) if scans > 1 else None,
        scans=scans,
        lesions=int(events.lesions.sum()),
        failed=len(candidates.failed),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Events:
    """Best hits and false alarms, by descending score.

    Attributes:
        scores: (e,) descending.
        right: (e,) bool: a lesion is found; else a false alarm.
        scan: (e,) number of the scan, scans being sorted by name.
        lesions: (s,) lesions of each scan.
    """

    scores: np.ndarray
    right: np.ndarray
    scan: np.ndarray
    lesions: np.ndarray

    @classmethod
    def of(cls, candidates: Candidates) -> _Events:
        names = sorted(candidates.lesions)
        number = {name: index for index, name in enumerate(names)}
        events: list[tuple[float, bool, int]] = []
        best: dict[tuple[int, int], float] = {}
        for name, score, hit in zip(
            candidates.scan_ids, candidates.scores.tolist(), candidates.hits.tolist(), strict=True
        ):
            if hit < 0:
                events.append((score, False, number[name]))
            else:
                lesion = number[name], hit
                best[lesion] = max(score, best.get(lesion, -math.inf))
        events.extend((score, True, scan) for (scan, _), score in best.items())
        events.sort(key=lambda event: (-event[0], event[2], event[1]))
        return cls(
            scores=np.array([event[0] for event in events], dtype=np.float64),
            right=np.array([event[1] for event in events], dtype=bool),
            scan=np.array([event[2] for event in events], dtype=np.int64),
            lesions=np.array([candidates.lesions[name] for name in names], dtype=np.int64),
        )

    def curve(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The curve if each scan counts (s,) times: rates, sensitivities, thresholds."""
        weights = times[self.scan]
        ends = np.flatnonzero(np.diff(self.scores, append=-np.inf))
        found = np.cumsum(weights * self.right)[ends]
        false = np.cumsum(weights * ~self.right)[ends]
        total = int(times @ self.lesions)
        sensitivity = np.append(0, found) / total if total else np.full(len(ends) + 1, np.nan)
        rates = np.append(0, false) / times.sum()
        return rates, sensitivity, np.append(np.inf, self.scores[ends])


def _cpm(rates: np.ndarray, sensitivity: np.ndarray) -> float:
    return float(np.interp(RATES, rates, sensitivity).mean())


def _unfit(what: str, *, code: str) -> DataError:
    return DataError(
        what,
        whose="the candidates of an FROC curve",
        fix="name every scan of the set, and give each candidate its scan, score and lesion",
        code=code,
    )

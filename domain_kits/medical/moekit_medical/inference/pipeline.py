"""Nodule candidates in the CT series at a path: read, found, scored and written.

Research software, not for clinical use. The same input, salt and scorer give the same bytes.

Shapes: N candidates, T frames, S pixels a side.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from moekit import UsageError
from moekit.files import write_json
from moekit_medical.findings.overlay import Evidence, draw_overlay
from moekit_medical.findings.record import DISCLAIMER, Finding
from moekit_medical.findings.suppression import suppress
from moekit_medical.hounsfield import WINDOW_WORDS
from moekit_medical.inference.candidates import MOST, Candidates, find_candidates
from moekit_medical.inference.crops import (
    PIXEL_MM,
    PIXELS,
    cut_crops,
    cut_stacks,
    field_mm,
    stack_form,
)
from moekit_medical.inference.earlier import begin_summary
from moekit_medical.inference.failures import check_places, reason_of
from moekit_medical.inference.grids import upright
from moekit_medical.inference.inputs import Headers, Series, read_inputs
from moekit_medical.inference.lungs import find_lungs, why_no_lungs
from moekit_medical.inference.outputs import MOST_OVERLAYS, clear, discard, write_series
from moekit_medical.inference.records import InferenceSummary, SeriesRecord, begin_record
from moekit_medical.inference.regions import METHOD
from moekit_medical.inference.report import Picture, as_pictures, write_report
from moekit_medical.inference.scoring import Scorer, score_crops
from moekit_medical.volume import Volume

CANDIDATES_OPTION = "candidates"
"""The option of a path (`PATH?candidates=NUMBER`) that says how many are scored at most."""

VIEWS_OPTION = "views"
"""The option (`PATH?views=all`) by which each candidate is scored by all views of the run."""

NEIGHBOUR_MM = 10.0
"""Of findings closer to each other than this the best is kept."""


class Painter(Protocol):
    """Says for each crop how to draw what speaks for its score."""

    def __call__(self, crops_NSS: np.ndarray) -> Sequence[Callable[[Image.Image], Any]]:
        """Crops or stacks, as `Scorer` is given them, to as many `Evidence.paint`."""
        ...


def _silent(_what: str, _done: int, _total: int) -> None:
    """Reports nothing."""


def run_inference(
    inputs: Path,
    *,
    scorer: Scorer,
    by_fewer_views: Sequence[Scorer] = (),
    threshold: float,
    out: Path,
    salt: bytes,
    provenance: Mapping[str, Any],
    told: Sequence[str] = (),
    painter: Painter | None = None,
    batch_size: int = 64,
    frames: int = 1,
    most: int = MOST,
    progress: Callable[[str, int, int], None] = _silent,
) -> InferenceSummary:
    """Finds and scores nodule candidates in every sound CT volume at a path.

    Writes OUT/series.json, OUT/report.html and for each scored series OUT/TOKEN/ with
    findings.json, findings.csv, candidates.csv, overlays/NN.png and, for DICOM, segmentation.dcm
    and report.dcm. A series that fails is recorded and the others go on.

    The two DICOM files name the patient as the slices do, as DICOM demands. All else names neither
    patient nor path.

    Args:
        inputs: A file, a zip archive or a folder at any depth; or one NIfTI file.
        scorer: The model.
        by_fewer_views: The same by one view of several, by two and so on, by which most candidates
            are settled: see `score_crops`. Empty scores all by all views.
        threshold: Least score of a finding, in [0, 1].
        out: Folder to write to, not within `inputs`. What an earlier call wrote is replaced.
        salt: Secret of this run, not empty; whoever has it can confirm a guess of a path.
        provenance: What the scores come from, as JSON values; written as it is, so without names.
        told: Sentences on which model answers and on its threshold; written as they are.
        painter: Draws the evidence in the pictures of findings; None for pictures without.
        batch_size: Crops or stacks a call of `scorer`.
        frames: T, the slices of a stack, odd; 1 for crops of one slice.
        most: Candidates of a series that are scored at most, the strongest; the others are counted.
        progress: Called with what is done ("read" or the token of a series), the steps done and
            their total.

    Raises:
        UsageError: An argument is out of its range.
        DataError: There is nothing to read at the path.
        StorageError: series.json or report.html cannot be written.
    """
    _check_numbers(threshold=threshold, batch_size=batch_size, frames=frames, most=most)
    check_places(inputs, out=out, salt=salt)
    assembly, found = read_inputs(
        inputs, salt=salt, progress=lambda done, total: progress("read", done, total)
    )
    begin_summary(out / "series.json", provenance)
    run = _Run(
        scorers=(*by_fewer_views, scorer),
        painter=painter,
        threshold=threshold,
        out=out,
        batch_size=batch_size,
        frames=frames,
        most=most,
    )
    records: list[SeriesRecord] = []
    pictures: dict[str, tuple[Picture, ...]] = {}
    with Headers(inputs, salt=salt) as headers:
        for series in found:
            record, drawn = run.score(series, headers, progress)
            records.append(record)
            pictures[series.name] = drawn
    summary = InferenceSummary(
        series=tuple(records),
        refused=assembly.refused,
        ignored=assembly.ignored,
        notes=tuple(doubt.in_words() for doubt in assembly.doubts),
        out=out,
    )
    _write_summary(summary, run, provenance, told, pictures)
    return summary


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Run:
    """What all series share."""

    scorers: Sequence[Scorer]
    painter: Painter | None
    threshold: float
    out: Path
    batch_size: int
    frames: int
    most: int

    def score(
        self, series: Series, headers: Headers, progress: Callable[[str, int, int], None]
    ) -> tuple[SeriesRecord, tuple[Picture, ...]]:
        """Scores and writes one series; no failure of it leaves here."""
        stage = "clearing the output folder"
        folder = self.out / series.name
        try:
            clear(folder)
            stage = "finding the lungs"
            volume = upright(series.volume)
            lungs = find_lungs(volume)
            reason = why_no_lungs(volume, lungs)
            if reason or lungs is None:
                return begin_record(series, "no lung found", reason=reason), ()
            stage = "finding candidates"
            places = find_candidates(volume, lungs, most=self.most)
            crops_NSS, beyond = self._cut(volume, places.centre_mm_N3)
            stage = "scoring"
            scores = score_crops(
                crops_NSS,
                scorers=self.scorers,
                threshold=self.threshold,
                batch_size=self.batch_size,
                progress=lambda done: progress(series.name, done, len(places)),
            )
            stage = "writing"
            candidates = _as_findings(places, scores.score_N, series.volume)
            above = [one for one in candidates if one.score >= self.threshold]
            findings = suppress(above, distance_mm=NEIGHBOUR_MM)
            drawn = self._draw(volume, findings[:MOST_OVERLAYS])
            regions, problems = write_series(
                folder,
                series,
                candidates=candidates,
                findings=findings,
                pictures=drawn,
                headers=headers,
            )
            pictures = as_pictures(findings, drawn)
        except Exception as error:
            discard(folder)
            return begin_record(series, "failed", reason=reason_of(stage, error)), ()
        record = begin_record(
            series,
            "scored",
            lung_ml=lungs.volume_ml,
            candidates=len(candidates),
            findings=findings,
            regions=regions,
            problems=(*_dropped_in_words(places), *problems),
            beyond=beyond,
            by_one_view=int(scores.by_one_view_N.sum()),
            by_all_views=int(scores.by_all_N.sum()),
            dropped=places.dropped,
        )
        return record, pictures

    def _cut(self, volume: Volume, centre_mm_N3: np.ndarray) -> tuple[np.ndarray, int]:
        """Crops or stacks, and how many stacks reach beyond the volume."""
        if self.frames == 1:
            return cut_crops(volume, centre_mm_N3), 0
        return cut_stacks(volume, centre_mm_N3, frames=self.frames)

    def _draw(self, volume: Volume, findings: Sequence[Finding]) -> list[Image.Image]:
        """Pictures of findings, as upright as the crops that the model sees."""
        if not findings:
            return []
        centre_mm_N3 = np.array([finding.centre_mm for finding in findings])
        side_mm, before_mm = field_mm(self.frames)
        shown: list[Evidence | None] = [None] * len(findings)
        if self.painter is not None:
            shown = [
                Evidence(paint=paint, side_mm=side_mm, before_mm=before_mm)
                for paint in self.painter(self._cut(volume, centre_mm_N3)[0])
            ]
        last = np.array(volume.hu_DHW.shape) - 1
        index_N3 = np.clip(volume.to_index(centre_mm_N3), 0, last).tolist()
        return [
            draw_overlay(
                volume, dataclasses.replace(finding, centre_index=tuple(index)), evidence=evidence
            )
            for finding, index, evidence in zip(findings, index_N3, shown, strict=True)
        ]


def _dropped_in_words(places: Candidates) -> tuple[str, ...]:
    if not places.dropped:
        return ()
    total = len(places) + places.dropped
    return (
        f"candidates: the strongest {len(places)} of {total} places are scored, the other "
        f"{places.dropped} are not; PATH?{CANDIDATES_OPTION}={total} scores all",
    )


def _as_findings(places: Candidates, score_N: np.ndarray, volume: Volume) -> tuple[Finding, ...]:
    """Candidates in the volume they are read from, none beyond its outermost voxel centres."""
    last = np.array(volume.hu_DHW.shape) - 1
    index_N3 = np.clip(volume.to_index(places.centre_mm_N3), 0, last)
    return tuple(
        Finding(
            score=float(score),
            centre_mm=(float(x), float(y), float(z)),
            centre_index=(float(d), float(h), float(w)),
            sop_uid=volume.sop_uids[round(d)],
            size_mm=float(size),
        )
        for score, (x, y, z), (d, h, w), size in zip(
            score_N,
            volume.to_patient(index_N3),
            index_N3.tolist(),
            places.diameter_mm_N,
            strict=True,
        )
    )


def _check_numbers(*, threshold: float, batch_size: int, frames: int, most: int) -> None:
    if not math.isfinite(threshold) or not 0 <= threshold <= 1:
        raise UsageError(
            f"the threshold is {threshold}",
            whose="threshold",
            fix="give a number from 0 to 1",
            code="usage/out-of-range",
        )
    for name, number in {"batch_size": batch_size, "most": most}.items():
        if number < 1:
            raise UsageError(
                f"it is {number}", whose=name, fix="give 1 or more", code="usage/out-of-range"
            )
    if frames < 1 or frames % 2 == 0:
        raise UsageError(
            f"the frames are {frames}",
            whose="frames",
            fix="give an odd number, 1 for one slice",
            code="usage/out-of-range",
        )


def _write_summary(
    summary: InferenceSummary,
    run: _Run,
    provenance: Mapping[str, Any],
    told: Sequence[str],
    pictures: Mapping[str, tuple[Picture, ...]],
) -> None:
    one_slice = f"{PIXELS} x {PIXELS} pixels of {PIXEL_MM:g} mm, axial"
    settings = {
        "threshold": run.threshold,
        "candidates at most": run.most,
        "crop": one_slice if run.frames == 1 else stack_form(run.frames).words,
        "window": WINDOW_WORDS,
        "findings apart": f"{NEIGHBOUR_MM:g} mm",
        "region": METHOD,
    }
    write_json(
        summary.out / "series.json",
        {
            "disclaimer": DISCLAIMER,
            "settings": settings,
            "provenance": dict(provenance),
            "model": list(told),
            "notes": list(summary.notes),
            "series": [record.as_json() for record in summary.series],
            "refused": [dataclasses.asdict(one) for one in summary.refused],
            "ignored": [dataclasses.asdict(one) for one in summary.ignored],
        },
    )
    write_report(
        summary.out / "report.html",
        summary,
        settings=settings,
        provenance=provenance,
        told=told,
        pictures=pictures,
    )

"""What became of each series that was given."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from moekit_medical.dicom.verdict import Ignored, Refusal
from moekit_medical.findings.record import Finding
from moekit_medical.inference.inputs import Series

Status = Literal["scored", "no lung found", "failed"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SeriesRecord:
    """One sound CT volume.

    Attributes:
        name: Token of the series, and the folder of its files.
        status: Whether it was scored.
        content: SHA-256 of its voxels and their places.
        reason: Why it failed, or why no lung was searched; empty otherwise.
        slices: How many.
        spacing_mm: Distance of slices, rows and columns.
        repairs: What was mended when it was read.
        facts: Of the volume.
        lung_ml: Volume of the air in the lung region, or None.
        candidates: How many places were scored.
        findings: Those above the threshold, by descending score.
        regions: How many findings have a region in the segmentation, or None if none was made.
        problems: Which files could not be written or are not complete, and why.
        beyond: Of how many candidates the stack reaches beyond the volume and repeats its outermost
            slice; 0 if single slices were scored.
        dropped: How many weaker places were found and not scored.
        by_one_view: How many candidates have the score of one view of several, since more views
            could not make them findings.
        by_all_views: How many have the score of all views; the rest have that of some.
    """

    name: str
    status: Status
    content: str = ""
    reason: str = ""
    slices: int
    spacing_mm: tuple[float, ...]
    repairs: tuple[str, ...]
    facts: Mapping[str, str]
    lung_ml: float | None = None
    candidates: int = 0
    findings: tuple[Finding, ...] = ()
    regions: int | None = None
    problems: tuple[str, ...] = ()
    beyond: int = 0
    dropped: int = 0
    by_one_view: int = 0
    by_all_views: int = 0

    def as_json(self) -> dict[str, Any]:
        """The record for series.json, with the number of findings in place of them."""
        return {
            "series": self.name,
            "content_sha256": self.content,
            "status": self.status,
            "reason": self.reason,
            "slices": self.slices,
            "spacing_mm": [round(number, 4) for number in self.spacing_mm],
            "repairs": list(self.repairs),
            "facts": dict(sorted(self.facts.items())),
            "lung_ml": None if self.lung_ml is None else round(self.lung_ml),
            "candidates": self.candidates,
            "candidates_not_scored": self.dropped,
            "findings": len(self.findings),
            "regions": self.regions,
            "problems": list(self.problems),
            "stacks_beyond_volume": self.beyond,
            "scored_by_one_view": self.by_one_view,
            "scored_by_all_views": self.by_all_views,
        }


def begin_record(series: Series, status: Status, **more: Any) -> SeriesRecord:
    """A record with what is known of any volume."""
    return SeriesRecord(
        name=series.name,
        status=status,
        content=series.content,
        slices=len(series.volume.hu_DHW),
        spacing_mm=series.volume.spacing_mm,
        repairs=series.volume.repairs,
        facts=series.volume.facts,
        **more,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class InferenceSummary:
    """What one call of `run_inference` did.

    Attributes:
        series: Every sound CT volume.
        refused: Series that could not be made into a volume.
        ignored: Files that take no part in any series.
        notes: What the inputs contradict, in sentences.
        out: The folder with series.json, report.html and a folder for each scored series.
    """

    series: tuple[SeriesRecord, ...]
    refused: tuple[Refusal, ...]
    ignored: tuple[Ignored, ...]
    out: Path
    notes: tuple[str, ...] = ()

    @property
    def dropped_in_words(self) -> tuple[str, ...]:
        """A sentence on the candidates that were not scored; none if all were."""
        many = [one for one in self.series if one.dropped]
        if not many:
            return ()
        return (
            f"{sum(one.dropped for one in many)} candidates of {len(many)} series were found and "
            "not scored, the weakest of each: series.json says how many, and PATH?candidates="
            f"{max(one.dropped + one.candidates for one in many)} scores all",
        )

    @property
    def counts(self) -> dict[str, int]:
        """How many series were scored, showed no lung, failed and were refused."""
        found = [record.status for record in self.series]
        return {
            "scored": found.count("scored"),
            "no lung found": found.count("no lung found"),
            "failed": found.count("failed"),
            "refused": len(self.refused),
        }

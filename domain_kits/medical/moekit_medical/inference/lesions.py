"""Outlines of lesions in the CT series at a path: read, answered slice by slice, put back.

Research software, not for clinical use. The same input, salt and model give the same bytes.

Shapes: D slices, H rows, W columns, N pictures.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from moekit import UsageError
from moekit.files import write_json
from moekit_medical.dicom.verdict import Ignored, Refusal
from moekit_medical.findings.record import DISCLAIMER
from moekit_medical.hounsfield import WINDOW_WORDS, slice_picture
from moekit_medical.inference.earlier import begin_summary
from moekit_medical.inference.failures import (
    ANSWERING,
    BadAnswersError,
    check_places,
    reason_of,
)
from moekit_medical.inference.inputs import Headers, Series, read_inputs
from moekit_medical.inference.lesion_outputs import FILES, write_lesions
from moekit_medical.inference.lesion_parts import LESION_WORDS, Lesion, number_lesions
from moekit_medical.inference.outputs import clear, discard
from moekit_medical.loaders.crops import turn_to_patient

MOST_LISTED = 200
"""Lesions of a series that summary.json lists, the largest first."""

Status = Literal["outlined", "failed"]


class Outliner(Protocol):
    """Says of each pixel of a picture whether it is one of a lesion, or of which one."""

    def __call__(self, pictures_NHW: np.ndarray) -> np.ndarray:
        """(N, H, W) uint8, as `slice_picture` gives them, to (N, H, W) bool.

        Or to uint16: numbers of objects, from 1, in each picture by itself; 0 for none.
        """
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class LesionRecord:
    """One sound CT volume.

    Attributes:
        series: The volume.
        status: Whether it was outlined.
        reason: Why it failed; empty otherwise.
        lesions: The largest first.
        problems: Which files were not written, and why.
    """

    series: Series
    status: Status
    reason: str = ""
    lesions: tuple[Lesion, ...] = ()
    problems: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The record for summary.json; volumes in mm^3."""
        volume = self.series.volume
        return {
            "series": self.series.name,
            "content_sha256": self.series.content,
            "status": self.status,
            "reason": self.reason,
            "slices": len(volume.hu_DHW),
            "spacing_mm": [round(number, 4) for number in volume.spacing_mm],
            "repairs": list(volume.repairs),
            "facts": dict(sorted(volume.facts.items())),
            "lesions": len(self.lesions),
            "volume_mm3": round(sum((one.volume_mm3 for one in self.lesions), 0.0), 1),
            "largest": [one.as_json() for one in self.lesions[:MOST_LISTED]],
            "problems": list(self.problems),
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class LesionSummary:
    """What one call of `run_lesions` did.

    Attributes:
        series: Every sound CT volume.
        refused: Series that could not be made into a volume.
        ignored: Files that take no part in any series.
        notes: What the inputs contradict, in sentences.
    """

    series: tuple[LesionRecord, ...]
    refused: tuple[Refusal, ...]
    ignored: tuple[Ignored, ...]
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """How many series were outlined, failed or refused, and how many lesions there are."""
        found = [record.status for record in self.series]
        return {
            "outlined": found.count("outlined"),
            "failed": found.count("failed"),
            "refused": len(self.refused),
            "lesions": sum(len(record.lesions) for record in self.series),
        }


def _silent(_what: str, _done: int, _total: int) -> None:
    """Reports nothing."""


def run_lesions(
    inputs: Path,
    *,
    outliner: Outliner,
    out: Path,
    salt: bytes,
    provenance: Mapping[str, Any],
    told: Sequence[str] = (),
    batch_size: int = 16,
    progress: Callable[[str, int, int], None] = _silent,
) -> LesionSummary:
    """Outlines lesions in every sound CT volume at a path.

    Writes OUT/summary.json and for each volume with a lesion OUT/TOKEN/ with overlays/NN.png and
    segmentation.dcm, or segmentation.nii if the input is NIfTI. A series that fails is recorded and
    the others go on. The DICOM file names the patient as the slices do, as DICOM demands. All else
    names neither patient nor path.

    Args:
        inputs: A file, a zip archive or a folder at any depth; or one NIfTI file.
        outliner: The model.
        out: Folder to write to, not within `inputs`. What an earlier call wrote is replaced.
        salt: Secret of this run, not empty; whoever has it can confirm a guess of a path.
        provenance: What the outlines come from, as JSON values; written as it is.
        told: Sentences on which model answers and on its point; written as they are.
        batch_size: Slices a call of `outliner`.
        progress: Called with what is done ("read" or the token of a series), the steps done and
            their total.

    Raises:
        UsageError: An argument is out of its range.
        DataError: There is nothing to read at the path.
        StorageError: summary.json cannot be written.
    """
    if batch_size < 1:
        raise UsageError(
            f"the batch size is {batch_size}",
            whose="batch_size",
            fix="give 1 or more",
            code="usage/out-of-range",
        )
    check_places(inputs, out=out, salt=salt)
    assembly, found = read_inputs(
        inputs, salt=salt, progress=lambda done, total: progress("read", done, total)
    )
    begin_summary(out / "summary.json", provenance)
    run = _Run(outliner=outliner, out=out, batch_size=batch_size)
    with Headers(inputs, salt=salt) as headers:
        records = tuple(run.outline(series, headers, progress) for series in found)
    summary = LesionSummary(
        series=records,
        refused=assembly.refused,
        ignored=assembly.ignored,
        notes=tuple(doubt.in_words() for doubt in assembly.doubts),
    )
    _write_summary(out / "summary.json", summary, provenance, told)
    return summary


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Run:
    """What all series share."""

    outliner: Outliner
    out: Path
    batch_size: int

    def outline(
        self, series: Series, headers: Headers, progress: Callable[[str, int, int], None]
    ) -> LesionRecord:
        """Outlines and writes one series; no failure of it leaves here."""
        stage = "clearing the output folder"
        folder = self.out / series.name
        try:
            clear(folder, files=FILES)
            stage = ANSWERING
            total = len(series.volume.hu_DHW)
            part_DHW = self._parts(series, lambda done: progress(series.name, done, total))
            stage = "measuring"
            lesions, number_DHW = number_lesions(part_DHW, series.volume)
            stage = "writing"
            problems = write_lesions(folder, series, number_DHW, lesions, headers=headers)
        except Exception as error:
            discard(folder, files=FILES)
            return LesionRecord(series=series, status="failed", reason=reason_of(stage, error))
        return LesionRecord(series=series, status="outlined", lesions=lesions, problems=problems)

    def _parts(self, series: Series, progress: Callable[[int], None]) -> np.ndarray:
        """(D, H, W) bool or uint16 in the volume's own order, from answers to axial slices."""
        volume = series.volume
        slices_DHW = turn_to_patient(volume.hu_DHW, volume.affine).hu_DHW
        given: list[np.ndarray] = []
        total = len(slices_DHW)
        for first in range(0, total, self.batch_size):
            part = slices_DHW[first : first + self.batch_size]
            pictures_NHW = np.stack([slice_picture(hu_HW) for hu_HW in part])
            given_NHW = np.asarray(self.outliner(pictures_NHW))
            fits = given_NHW.dtype in (np.bool_, np.uint16)
            if given_NHW.shape != pictures_NHW.shape or not fits:
                raise BadAnswersError("the model gave not one answer for each pixel")
            given.append(given_NHW)
            progress(len(volume.hu_DHW) * (first + len(part)) // total)
        turned_DHW = np.concatenate(given)
        part_DHW = np.zeros_like(turned_DHW, shape=volume.hu_DHW.shape)
        # A view: what is written into it lies in the volume's own order.
        turn_to_patient(part_DHW, volume.affine).hu_DHW[:] = turned_DHW
        return part_DHW


def _write_summary(
    path: Path, summary: LesionSummary, provenance: Mapping[str, Any], told: Sequence[str]
) -> None:
    write_json(
        path,
        {
            "disclaimer": DISCLAIMER,
            "settings": {
                "picture": "whole axial slices",
                "window": WINDOW_WORDS,
                "lesion": LESION_WORDS,
                "coordinates": "LPS, mm",
            },
            "provenance": dict(provenance),
            "model": list(told),
            "notes": list(summary.notes),
            "series": [record.as_json() for record in summary.series],
            "refused": [dataclasses.asdict(one) for one in summary.refused],
            "ignored": [dataclasses.asdict(one) for one in summary.ignored],
        },
    )

"""Writes what was found in one series."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

import pydicom
from PIL import Image

from moekit import DataError, StorageError
from moekit_medical.dicom.verdict import SetAsideError
from moekit_medical.findings.record import Finding, in_order, write_csv, write_json
from moekit_medical.findings.seg import MOST_SEGMENTS, build_segmentation, segments_of
from moekit_medical.findings.sources import write_dicom
from moekit_medical.findings.sr import build_report
from moekit_medical.findings.zoom import write_picture
from moekit_medical.inference.inputs import Headers, Series
from moekit_medical.inference.regions import grow_regions

MOST_OVERLAYS = 20
MOST_REPORTED = 100
"""Findings in report.dcm; a Structured Report of more takes long to make and to read."""

FILES = ("findings.json", "findings.csv", "candidates.csv", "segmentation.dcm", "report.dcm")


def clear(folder: Path, *, files: Sequence[str] = FILES) -> None:
    """Removes what an earlier call wrote, and nothing else.

    Args:
        folder: Of a series.
        files: Names of its files next to the overlays.

    Raises:
        StorageError: It cannot be removed.
    """
    try:
        for name in files:
            (folder / name).unlink(missing_ok=True)
        overlays = folder / "overlays"
        for picture in overlays.glob("[0-9][0-9].png"):
            picture.unlink()
        for empty in (overlays, folder):
            with contextlib.suppress(OSError):
                empty.rmdir()
    except OSError as error:
        raise StorageError(
            f"cannot remove the files of an earlier run ({type(error).__name__})",
            whose="the output folder",
            fix="choose a folder that can be written",
            code="storage/cannot-remove",
        ) from None


def discard(folder: Path, *, files: Sequence[str] = FILES) -> None:
    """Removes what was written of a series that failed, as far as it can be; see `clear`."""
    with contextlib.suppress(StorageError):
        clear(folder, files=files)


def write_series(
    folder: Path,
    series: Series,
    *,
    candidates: Sequence[Finding],
    findings: Sequence[Finding],
    pictures: Sequence[Image.Image],
    headers: Headers,
) -> tuple[int | None, tuple[str, ...]]:
    """Writes records, pictures and, if the slices are DICOM, a Segmentation and a report.

    Without findings there is no Segmentation, and the report says that nothing was found. DICOM
    files that the slices do not allow are left out. Findings are numbered by `in_order`, from 1.

    Returns:
        How many findings have voxels of their own (None without a Segmentation), and what was left
        out.

    Raises:
        StorageError: A file cannot be written.
    """
    write_json(folder / "findings.json", findings)
    write_csv(folder / "findings.csv", findings)
    write_csv(folder / "candidates.csv", candidates)
    for number, picture in enumerate(pictures[:MOST_OVERLAYS], 1):
        write_picture(folder / "overlays" / f"{number:02d}.png", picture)
    if not series.files:
        return None, ()
    try:
        sources = headers.of(series)
    except (SetAsideError, KeyError, DataError):
        return None, ("segmentation.dcm and report.dcm: the slices could not be read again",)
    problems: list[str] = []
    regions = None
    if findings:
        regions = _attempt(
            "segmentation.dcm",
            problems,
            lambda: _write_segmentation(folder, series, findings, sources, problems),
        )
    reported = findings[:MOST_REPORTED]
    made = _attempt(
        "report.dcm", problems, lambda: _write_report(folder, series, reported, sources)
    )
    if made is not None and made < len(findings):
        problems.append(f"report.dcm: the best {made} of {len(findings)} findings only")
    return regions, tuple(problems)


def _write_segmentation(
    folder: Path,
    series: Series,
    findings: Sequence[Finding],
    sources: list[pydicom.Dataset],
    problems: list[str],
) -> int:
    """One segment a finding; names those that have none, and those that share the last one."""
    ordered = in_order(findings)
    regions = grow_regions(series.volume, ordered)
    numbers = regions.numbers
    if numbers:
        segmentation = build_segmentation(
            regions.number_DHW,
            series.volume,
            sources,
            kind="nodule",
            segments=segments_of(numbers, "nodule", findings=ordered),
        )
        write_dicom(folder / "segmentation.dcm", segmentation)
    told = [f"finding {one} has no voxels that stand out" for one in regions.dark]
    told += [
        f"all voxels of finding {one} are those of finding {other}"
        for one, other in regions.covered.items()
    ]
    if len(numbers) > MOST_SEGMENTS:
        shared = len(numbers) - MOST_SEGMENTS + 1
        told.append(f"the last segment holds the {shared} findings of the lowest scores")
    problems += [f"segmentation.dcm: {one}" for one in told]
    return len(numbers)


def _write_report(
    folder: Path, series: Series, findings: Sequence[Finding], sources: list[pydicom.Dataset]
) -> int:
    report = build_report(findings, series.volume, sources, kind="nodule")
    write_dicom(folder / "report.dcm", report)
    return len(findings)


def _attempt(name: str, problems: list[str], write: Callable[[], int]) -> int | None:
    """What `write` gives, or None and a problem if the slices do not allow it."""
    try:
        return write()
    except DataError as error:
        problems.append(f"{name}: {error.what}")
        return None

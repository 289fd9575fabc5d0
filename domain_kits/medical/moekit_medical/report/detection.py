"""The section on detection: lesions found against false positives a scan, over the whole split."""

from __future__ import annotations

import dataclasses
import fractions

import numpy as np

from moekit import ReportContext, ReportSection, ReportSectionSpec, ReportTable
from moekit.tasks.score import Predictions
from moekit_medical.loaders.facts import LESION, SCAN
from moekit_medical.metrics.froc import RATES, Candidates, Froc, evaluate_froc
from moekit_medical.report.failures import Failure, find_failures
from moekit_medical.report.plain import at, figure, interval

_TITLE = "Detection (FROC)"


def render_detection(context: ReportContext) -> ReportSection:
    """The curve at the seven rates of LUNA16 and their mean (CPM), if scans are known."""
    scored = context.predictions
    if scored is None or not len(scored):
        return _without("predictions.csv is not in this run.")
    scans = scored.facts.get(SCAN, ("",) * len(scored))
    unknown = sum(not scan for scan in scans)
    if unknown:
        return _without(
            "An FROC curve cannot be computed: it counts false positives a scan, and the data do "
            f"not say of which scan {unknown} of the {len(scored)} images are. Name it in a column "
            "scan or series of labels.csv, or give the volumes themselves."
        )
    failures, unplaced = find_failures(context)
    split = _split_candidates(scored, failures)
    seed = at(context.result, "bootstrap_seed")
    seed = seed if isinstance(seed, int) else 0
    curves = [("specialist", evaluate_froc(split, seed=seed))]
    if scored.baseline_scores is not None:
        bare = dataclasses.replace(split, scores=scored.baseline_scores)
        curves.append(("frozen backbone, same head", evaluate_froc(bare, seed=seed)))
    return ReportSection(
        title=_TITLE,
        paragraphs=(*_counts(curves[0][1], scored, failures, unplaced), *_limits(curves[0][1])),
        tables=(_table(curves),),
    )


def _without(reason: str) -> ReportSection:
    return ReportSection(title=_TITLE, paragraphs=(reason,))


def _split_candidates(scored: Predictions, failures: list[Failure]) -> Candidates:
    """The candidates of all scans; a lesion of which no candidate was scored stays in the count."""
    names = scored.facts.get(LESION, ("",) * len(scored))
    known: dict[str, dict[str, int]] = {scan: {} for scan in scored.facts[SCAN]}
    hits = []
    for row, (scan, lesion) in enumerate(zip(scored.facts[SCAN], names, strict=True)):
        hits.append(_number(known[scan], lesion or f"row {row}") if scored.labels[row] else -1)
    for row, failure in enumerate(failures):
        scan = failure.facts.get(SCAN, "")
        of_scan = known.setdefault(scan, {}) if scan else {}
        if failure.label == 1:
            _number(of_scan, failure.facts.get(LESION) or f"failure {row}")
    return Candidates(
        lesions={scan: len(lesions) for scan, lesions in known.items()},
        scan_ids=tuple(scored.facts[SCAN]),
        scores=scored.scores,
        hits=np.array(hits, dtype=np.int64),
        failed=frozenset(set(known) - set(scored.facts[SCAN])),
    )


def _number(lesions: dict[str, int], name: str) -> int:
    return lesions.setdefault(name, len(lesions))


def _counts(
    curve: Froc, scored: Predictions, failures: list[Failure], unplaced: int
) -> tuple[str, ...]:
    told = (
        f"{curve.scans} scans with {curve.lesions} lesions and "
        f"{int((scored.labels == 0).sum())} other candidates that were scored."
    )
    if failures:
        lost = sum(failure.label == 1 for failure in failures)
        told += (
            f" {len(failures)} candidates could not be scored, {lost} of them on lesions: a lesion "
            f"without any scored candidate counts as missed. {curve.failed} scans failed as a "
            "whole; they count in the number of scans."
        )
    if unplaced:
        told += f" {unplaced} skipped inputs are of no known split and in no figure."
    if LESION not in scored.facts:
        told += (
            " The data do not say which candidates lie on one lesion, so each positive candidate "
            "counts as a lesion of its own (a column lesion would say it)."
        )
    return (told,)


def _limits(curve: Froc) -> tuple[str, ...]:
    most = float(curve.fp_per_scan[-1])
    return (
        "Lesions that were never a candidate are in no list that this run has, so they are not "
        "counted as missed, and scans without any candidate are not counted at all: sensitivity "
        "is that among the listed lesions.",
        f"The candidates give at most {most:.2f} false positives a scan; at higher rates the "
        "sensitivity stays as it is. The interval of the CPM, the mean of the seven, is a "
        "percentile bootstrap by whole scan. Setio et al. 2017, Medical Image Analysis 42.",
    )


def _table(curves: list[tuple[str, Froc]]) -> ReportTable:
    rows = [
        (
            str(fractions.Fraction(rate)),
            *(figure(curve.sensitivity_at[place]) or "undefined" for _, curve in curves),
        )
        for place, rate in enumerate(RATES)
    ]
    total = (
        f"{figure(curve.cpm) or 'undefined'} ({interval(curve.cpm_ci95) or 'no interval'})"
        for _, curve in curves
    )
    return ReportTable(
        columns=("false positives a scan", *(f"sensitivity, {name}" for name, _ in curves)),
        rows=(*rows, ("CPM (95% interval)", *total)),
    )


DETECTION = ReportSectionSpec(
    name="detection",
    kits=("medical",),
    render=render_detection,
    summary="FROC and CPM over the scans of the split",
)

"""The section on subgroups: maker, slice thickness, lesion size and the loader's own strata."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from moekit import ReportContext, ReportSection, ReportSectionSpec, ReportTable
from moekit.tasks.score import METRICS as CORE_METRICS
from moekit.tasks.score import Predictions
from moekit_medical.loaders.facts import MANUFACTURER, SIZE, THICKNESS, maker
from moekit_medical.metrics.subgroups import UNKNOWN, SubgroupValue, by_subgroup
from moekit_medical.report.failures import Failure, find_failures
from moekit_medical.report.plain import at, figure, interval, text

_TITLE = "Subgroups"
_METRICS = tuple(
    next(metric for metric in CORE_METRICS if metric.name == name)
    for name in ("auroc", "sensitivity", "specificity")
)
THICKNESS_MM = (1.5, 3.0)
"""Bounds of slice thickness; thin slices of chest CT have at most 1.5 mm (MacMahon et al. 2017,
Radiology 284(1):228-243)."""

SIZE_MM = (6.0, 8.0)
"""Bounds of nodule diameter, as in the same guidelines."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Stratum:
    """A way to part the samples.

    Attributes:
        title: Heading of its column.
        values: (n) subgroup of each sample; empty if unknown.
        of_failure: The same of a sample that was not scored.
        order: Subgroups in the order of the table; others come after them by name.
        shares_negatives: Whether each subgroup of positives is set against all negatives.
    """

    title: str
    values: Sequence[str]
    of_failure: Callable[[Failure], str]
    order: Sequence[str] = ()
    shares_negatives: bool = False


def render_subgroups(context: ReportContext) -> ReportSection:
    """AUROC, and sensitivity and specificity at the chosen threshold, in each subgroup."""
    scored, threshold = context.predictions, at(context.result, "threshold", "value")
    if scored is None or not len(scored) or figure(threshold) is None:
        return ReportSection(
            title=_TITLE, paragraphs=("predictions.csv or the threshold is not in this run.",)
        )
    failures, unplaced = find_failures(context)
    strata = _strata(scored)
    known = [stratum for stratum in strata if any(stratum.values)]
    absent = [stratum.title for stratum in strata if not any(stratum.values)]
    seed = at(context.result, "bootstrap_seed")
    paragraphs = [
        f"At the chosen threshold {figure(threshold, 4)}, with 95% percentile bootstrap intervals "
        "(by group if the data name groups). An interval without width means that resamples "
        "cannot vary, not that the figure is certain. Differences between subgroups are not "
        "tested: among many, some look different by chance."
    ]
    if failures:
        paragraphs.append("Images that could not be scored are counted and in no figure.")
    if unplaced:
        paragraphs.append(f"{unplaced} skipped inputs are of no known split.")
    if absent:
        paragraphs.append(
            f"Not known of these data: {', '.join(absent)}. Headers of DICOM files or columns "
            f"{MANUFACTURER}, {THICKNESS}, {SIZE}, subtype of labels.csv would say it."
        )
    return ReportSection(
        title=_TITLE,
        paragraphs=tuple(paragraphs),
        tables=tuple(
            _table(
                stratum,
                scored,
                failures,
                threshold=threshold,
                seed=seed if isinstance(seed, int) else 0,
            )
            for stratum in known
        ),
    )


def known_strata(scored: Predictions) -> list[str]:
    """The strata that the samples' facts allow, by their titles."""
    return [stratum.title for stratum in _strata(scored) if any(stratum.values)]


def bin_of(value: str, bounds: Sequence[float]) -> str:
    """The bin of a number with millimetres; each holds its upper bound. Empty if unknown."""
    try:
        number = float(value)
    except ValueError:
        return ""
    place = int(np.searchsorted(bounds, number, side="left"))
    return bin_names(bounds)[place] if number > 0 else ""


def bin_names(bounds: Sequence[float]) -> tuple[str, ...]:
    """The bins of `bin_of`, ascending."""
    return (
        f"at most {bounds[0]:g} mm",
        *(f"over {low:g} to {high:g} mm" for low, high in itertools.pairwise(bounds)),
        f"over {bounds[-1]:g} mm",
    )


def _strata(scored: Predictions) -> list[_Stratum]:
    def facts(name: str) -> Sequence[str]:
        return scored.facts.get(name, ("",) * len(scored))

    def binned(title: str, name: str, bounds: Sequence[float], *, shared: bool) -> _Stratum:
        return _Stratum(
            title=title,
            values=[bin_of(value, bounds) for value in facts(name)],
            of_failure=lambda failure: bin_of(failure.facts.get(name, ""), bounds),
            order=bin_names(bounds),
            shares_negatives=shared,
        )

    return [
        _Stratum(
            title="manufacturer",
            values=[maker(value) for value in facts(MANUFACTURER)],
            of_failure=lambda failure: maker(failure.facts.get(MANUFACTURER, "")),
        ),
        binned("slice thickness", THICKNESS, THICKNESS_MM, shared=False),
        binned("lesion size", SIZE, SIZE_MM, shared=True),
        _Stratum(
            title="type",
            values=[text(value, limit=40) or "" for value in scored.subtypes or ()],
            of_failure=lambda _: "",
        ),
    ]


def _table(
    stratum: _Stratum,
    scored: Predictions,
    failures: Sequence[Failure],
    *,
    threshold: float,
    seed: int,
) -> ReportTable:
    rows = [
        _row(name, rows, scored, threshold=threshold, seed=seed)
        for name, rows in _parts(stratum, scored)
    ]
    lost = [
        stratum.of_failure(failure) or UNKNOWN
        for failure in failures
        if failure.label == 1 or not stratum.shares_negatives
    ]
    names = {row[0] for row in rows}
    cells = [(*row[:3], str(lost.count(row[0])), *row[3:]) for row in rows]
    cells += [
        (name, "0", "0", str(lost.count(name)), *("undefined",) * len(_METRICS))
        for name in sorted(set(lost) - names)
    ]
    against = ", against all negatives" if stratum.shares_negatives else ""
    return ReportTable(
        columns=(
            f"{stratum.title}{against}",
            "n",
            "positives",
            "not scored",
            *(metric.name for metric in _METRICS),
        ),
        rows=tuple(cells),
    )


def _parts(stratum: _Stratum, scored: Predictions) -> list[tuple[str, np.ndarray]]:
    """The rows of each subgroup; together they hold every row, or every positive."""
    names = np.array([value or UNKNOWN for value in stratum.values], dtype=object)
    negative = scored.labels == 0
    counted = ~negative if stratum.shares_negatives else np.ones(len(scored), dtype=bool)
    places: Mapping[str, int] = {name: place for place, name in enumerate(stratum.order)}
    found = sorted(
        set(names[counted]), key=lambda name: (name == UNKNOWN, places.get(name, len(places)), name)
    )
    extra = negative if stratum.shares_negatives else np.zeros(len(scored), dtype=bool)
    return [(name, np.flatnonzero((counted & (names == name)) | extra)) for name in found]


def _row(
    name: str, rows: np.ndarray, scored: Predictions, *, threshold: float, seed: int
) -> tuple[str, ...]:
    part = scored.take(rows)
    one_of = dict.fromkeys(part.ids, name)
    values = [
        by_subgroup(metric, part, threshold=threshold, subgroup_of=one_of, seed=seed)[0]
        for metric in _METRICS
    ]
    return (name, str(len(part)), str(int(part.labels.sum())), *map(_figure, values))


def _figure(value: SubgroupValue) -> str:
    shown = figure(value.value)
    return f"{shown} ({interval(value.ci95) or 'no interval'})" if shown else "undefined"


SUBGROUPS = ReportSectionSpec(
    name="subgroups",
    kits=("medical",),
    render=render_subgroups,
    summary="AUROC, sensitivity and specificity by maker, slice thickness, lesion size and type",
)

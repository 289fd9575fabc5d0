"""What plugins and tasks add to reports, and what listeners learn of runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

HEADER, METRICS, WORST, NEXT = "", "Metrics", "Worst misses", "What next"
JOINED = (HEADER, METRICS, WORST, NEXT)
"""Titles by which a task's section adds to the page's own in place of a section of its own.

Of `HEADER` each row of a table makes a tile: what it is, its value, a remark; the rest stands below
the tiles. Of `METRICS` the paragraphs stand first. Of `WORST` the notes stand below the pictures.
Of `NEXT` each paragraph is one step that the reader may take.
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportTable:
    """A table of a report; every cell is plain text and is escaped.

    Attributes:
        columns: Headings.
        rows: As many cells each as there are columns.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportLine:
    """A curve of a chart.

    Attributes:
        label: Its name in the legend.
        points: (x, y) in the order of x.
        style: `kit` or `baseline`, which decide its colour.
        band: (x, low, high) of a pointwise interval; empty for none.
    """

    label: str
    points: tuple[tuple[float, float], ...]
    style: Literal["kit", "baseline"] = "kit"
    band: tuple[tuple[float, float, float], ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportChart:
    """A chart of lines on axes from 0 to 1, drawn by the report.

    Attributes:
        title: Its heading.
        x: Label of the horizontal axis.
        y: Label of the vertical axis.
        lines: The curves.
        marks: Points that are marked: x, y and what they are.
    """

    title: str
    x: str
    y: str
    lines: tuple[ReportLine, ...]
    marks: tuple[tuple[float, float, str], ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportGrid:
    """A table of shares, each cell shaded by its value: a confusion matrix, or loads of experts.

    Attributes:
        columns: Headings.
        rows: Headings of the rows.
        shares: A row of values in [0, 1] for each; None leaves a cell blank.
        cells: What the cells say, in the same shape; the share in percent if empty.
    """

    columns: tuple[str, ...]
    rows: tuple[str, ...]
    shares: tuple[tuple[float | None, ...], ...]
    cells: tuple[tuple[str, ...], ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportSection:
    """A section of a report.

    Attributes:
        title: Its heading. Of a task, `Metrics`, `Worst misses` and `What next` (whose paragraphs
            are steps) add to the page's own sections, and an empty one to its header.
        paragraphs: Plain text, before the rest.
        tables: Tables.
        charts: Charts.
        grids: Shaded tables.
        notes: Plain text in small letters, at the end.
    """

    title: str
    paragraphs: tuple[str, ...] = ()
    tables: tuple[ReportTable, ...] = ()
    charts: tuple[ReportChart, ...] = ()
    grids: tuple[ReportGrid, ...] = ()
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportContext:
    """What a section is made from.

    Attributes:
        result: The content of result.json.
        record: The content of run.json; empty if the folder has none.
        predictions: Of the task `score` the scores and labels of the evaluated split
            (`moekit.Predictions`), or None if they are gone; None for other tasks.
        validation: The same of the validation split.
        tallies: The tallies of the evaluated split, the kit's first; empty if they are gone.
        validation_tallies: The same of the validation split.
    """

    result: Mapping[str, Any]
    record: Mapping[str, Any]
    predictions: Any
    validation: Any
    tallies: tuple[Any, ...] = ()
    validation_tallies: tuple[Any, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportSectionSpec:
    """A section that reports of certain kits get.

    Attributes:
        name: Short name, unique in its distribution.
        kits: Names of the kits whose reports get it.
        render: Makes it; quick, and without side effects.
        summary: One line for lists.
        tasks: Names of the tasks whose reports get it.
    """

    name: str
    kits: tuple[str, ...]
    render: Callable[[ReportContext], ReportSection]
    summary: str
    tasks: tuple[str, ...] = ("score",)


_RUN_FILES = frozenset(("history.jsonl", "report.html", "result.json", "routing.json", "run.json"))
_RUN_STEMS = ("kit.", "baseline.", "near_duplicates", "predictions", "validation")
_RUN_FOLDERS = frozenset(("checkpoints", "export", "given", "near_duplicates", "overlays"))


def is_run_file(parts: Sequence[str]) -> bool:
    """Whether a file of a run folder is moekit's, so that no listener may change or make it.

    Args:
        parts: The parts of its path below the run folder.
    """
    if len(parts) > 1:
        return parts[0] in _RUN_FOLDERS
    return parts[0] in _RUN_FILES or parts[0].startswith(_RUN_STEMS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunEvent:
    """What a listener learns of a run.

    Attributes:
        command: `adapt` or `evaluate`.
        folder: The run folder. A listener may add files of its own; what it changes of moekit's is
            put back, and the listener is named.
        kit: Name of the kit.
        dataset: Name of the data set.
        record: Of a started run the request; of a finished one the content of run.json or
            result.json. A copy, which is the listener's.
    """

    command: Literal["adapt", "evaluate"]
    folder: Path
    kit: str
    dataset: str
    record: Mapping[str, Any]

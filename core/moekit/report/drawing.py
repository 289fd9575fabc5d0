"""A section of a report as the template shows it: records checked, charts drawn."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TypeVar

from markupsafe import Markup

from moekit.contract.report import (
    HEADER,
    ReportChart,
    ReportGrid,
    ReportLine,
    ReportSection,
    ReportTable,
)
from moekit.report.svg import Axis, Line, line_chart
from moekit.report.text import are_numbers, readable

STYLES = {"kit": "curve-a", "baseline": "curve-b"}
_Point = TypeVar("_Point", tuple[float, float], tuple[float, float, float])
_MOST_POINTS = 400
_TILE = len(("name", "value", "remark"))
_UNIT = {"low": 0.0, "high": 1.0}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """A table.

    Attributes:
        record: What it holds.
        numbers: Of each column whether it holds numbers, which stand to the right.
    """

    record: ReportTable
    numbers: tuple[bool, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart: its heading and itself."""

    title: str
    drawing: Markup


@dataclasses.dataclass(frozen=True, kw_only=True)
class GridRow:
    """A row of a shaded table: its heading, and each cell's share and text."""

    name: str
    cells: tuple[tuple[float | None, str], ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grid:
    """A shaded table."""

    columns: tuple[str, ...]
    rows: tuple[GridRow, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drawn:
    """A section.

    Attributes:
        title: Its heading.
        paragraphs: Text before the rest.
        charts: Charts.
        grids: Shaded tables.
        tables: Tables.
        notes: Text in small letters.
    """

    title: str
    paragraphs: tuple[str, ...] = ()
    charts: tuple[Chart, ...] = ()
    grids: tuple[Grid, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()


def draw(section: object) -> Drawn:
    """Draws a section.

    Raises:
        TypeError: It is no section, or holds something other than records.
        ValueError: Rows, cells and headings do not fit each other.
    """
    if not isinstance(section, ReportSection):
        raise TypeError("it returned something other than a moekit.ReportSection")
    texts = (section.title, *section.paragraphs, *section.notes)
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("a title, paragraph or note is not text")
    if section.title == HEADER and any(len(table.columns) != _TILE for table in section.tables):
        raise ValueError(f"a table of tiles has {_TILE} columns")
    return Drawn(
        title=section.title,
        paragraphs=tuple(section.paragraphs),
        charts=tuple(map(_chart, section.charts)),
        grids=tuple(map(_grid, section.grids)),
        tables=tuple(map(_table, section.tables)),
        notes=tuple(section.notes),
    )


def _table(table: object) -> Table:
    if not isinstance(table, ReportTable):
        raise TypeError("a table of it is something other than a moekit.ReportTable")
    _check_rows(table.rows, len(table.columns))
    return Table(
        record=table,
        numbers=tuple(
            are_numbers([str(row[column]) for row in table.rows])
            for column in range(len(table.columns))
        ),
    )


def _chart(chart: object) -> Chart:
    if not isinstance(chart, ReportChart):
        raise TypeError("a chart of it is something other than a moekit.ReportChart")
    drawing = line_chart(
        readable(chart.title),
        [_line(line) for line in chart.lines],
        x=Axis(label=readable(chart.x), **_UNIT),
        y=Axis(label=readable(chart.y), **_UNIT),
        marks=[(x, y, readable(text)) for x, y, text in chart.marks],
    )
    return Chart(title=chart.title, drawing=drawing)


def _line(line: object) -> Line:
    if not isinstance(line, ReportLine):
        raise TypeError("a line of a chart is something other than a moekit.ReportLine")
    return Line(
        name=readable(line.label),
        points=_thin(line.points),
        style=STYLES[line.style],
        band=_thin(line.band),
    )


def _thin(points: Sequence[_Point]) -> list[_Point]:
    """At most `_MOST_POINTS` of them, the first and the last among these."""
    last, most = len(points) - 1, _MOST_POINTS - 1
    if last <= most:
        return list(points)
    return [points[round(number * last / most)] for number in range(_MOST_POINTS)]


def _grid(grid: object) -> Grid:
    if not isinstance(grid, ReportGrid):
        raise TypeError("a grid of it is something other than a moekit.ReportGrid")
    shares = tuple(tuple(map(_defined, row)) for row in grid.shares)
    cells = grid.cells or tuple(tuple(map(_percent, row)) for row in shares)
    for table in (shares, cells):
        if len(table) != len(grid.rows):
            raise ValueError(f"a grid has {len(table)} rows and {len(grid.rows)} headings of rows")
        _check_rows(table, len(grid.columns))
    rows = zip(grid.rows, shares, cells, strict=True)
    return Grid(
        columns=grid.columns,
        rows=tuple(
            GridRow(name=name, cells=tuple(zip(of_row, texts, strict=True)))
            for name, of_row, texts in rows
        ),
    )


def _defined(share: float | None) -> float | None:
    return share if share is not None and math.isfinite(share) else None


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def _check_rows(rows: Sequence[Sequence[object]], columns: int) -> None:
    wrong = [row for row in rows if len(row) != columns]
    if wrong:
        raise ValueError(f"a row has {len(wrong[0])} cells and the table {columns} columns")

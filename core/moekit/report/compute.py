"""The section of a report on how many tokens a run computes, if a budget chose them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from moekit.contract.report import ReportSection, ReportTable
from moekit.report.drawing import STYLES, Chart, Drawn, draw
from moekit.report.svg import Axis, Line, line_chart
from moekit.runs.schema import Budget, BudgetPoint

_HOW = (
    "Arithmetic counts the matrix products of the backbone up to the last block that the head "
    "reads; it is not measured time. The headline is that of the baseline's head, trained for the "
    "choice on some of the training items in one view each, and judged on validation data. So it "
    "is not the figure of the run."
)


def compute_section(record: Mapping[str, Any]) -> Drawn | None:
    """The curve of the choice; None if no budget was asked for.

    Args:
        record: The content of run.json.
    """
    known = (record.get("request") or {}).get("budget")
    if not known:
        return None
    budget = Budget.model_validate(known)
    points = [one for one in budget.measured if one.value is not None]
    rows = tuple(_row(one) for one in points)
    columns = ("arithmetic", budget.headline, "lost", "95% interval of the loss")
    section = draw(
        ReportSection(
            title="Compute",
            paragraphs=tuple(budget.in_words),
            tables=(ReportTable(columns=columns, rows=rows),) if rows else (),
            notes=(_HOW,) if rows else (),
        )
    )
    charts = (_chart(budget, points),) if len(points) > 1 else ()
    return dataclasses.replace(section, charts=charts)


def _chart(budget: Budget, points: list[BudgetPoint]) -> Chart:
    ordered = sorted(points, key=lambda one: one.arithmetic)
    curve = [(one.arithmetic, _known(one.value)) for one in ordered]
    band = [(one.arithmetic, one.ci95[0], one.ci95[1]) for one in ordered if one.ci95 is not None]
    line = Line(name=budget.headline, points=curve, style=STYLES["kit"], band=band)
    title = f"{budget.headline} against the share of the dense arithmetic"
    ends = [edge for _, low, high in band for edge in (low, high)]
    drawing = line_chart(
        title,
        [line],
        x=Axis.around("share of the dense arithmetic", [at for at, _ in curve]),
        y=Axis.around(budget.headline, [*(value for _, value in curve), *ends]),
        marks=[(at, value, "chosen") for at, value in curve if at == round(budget.arithmetic, 4)],
    )
    return Chart(title=title, drawing=drawing)


def _row(point: BudgetPoint) -> tuple[str, ...]:
    interval = point.loss_ci95
    return (
        f"{point.arithmetic:.0%}",
        f"{_known(point.value):.4f}",
        "" if point.loss is None else f"{point.loss:.4f}",
        "" if interval is None else f"{interval[0]:.4f} to {interval[1]:.4f}",
    )


def _known(value: float | None) -> float:
    assert value is not None
    return value

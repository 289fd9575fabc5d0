"""Line charts as SVG, for pages that load nothing. Colours come from the page's CSS classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from markupsafe import Markup, escape

from moekit.evaluation.curves import Points

_WIDTH, _HEIGHT = 380, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 12, 44


@dataclasses.dataclass(frozen=True, kw_only=True)
class Line:
    """One curve.

    Attributes:
        name: In the legend.
        points: In data units.
        style: CSS class of its colour.
    """

    name: str
    points: Points
    style: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis: its label, and the data values at its ends."""

    label: str
    low: float
    high: float

    def share(self, value: float) -> float:
        """Where a value lies between the ends, from 0 to 1."""
        return (value - self.low) / ((self.high - self.low) or 1.0)


def line_chart(
    title: str,
    lines: Sequence[Line],
    *,
    x: Axis,
    y: Axis,
    marks: Sequence[tuple[float, float, str]] = (),
) -> Markup:
    """A chart with axes, grid and legend.

    Args:
        title: What a screen reader says.
        lines: The curves.
        x: Horizontal axis.
        y: Vertical axis.
        marks: Single points, with a text each.
    """
    parts = [_grid(x, y)]
    parts += [_polyline(line, x, y) for line in lines]
    parts += [_mark(at, x, y) for at in marks]
    parts += [_legend(line, row) for row, line in enumerate(lines)]
    body = Markup("").join(parts)
    return Markup(
        '<svg viewBox="0 0 {w} {h}" role="img" aria-label="{title}"><title>{title}</title>'
        "{body}</svg>"
    ).format(w=_WIDTH, h=_HEIGHT, title=title, body=body)


def _place(value_x: float, value_y: float, x: Axis, y: Axis) -> tuple[float, float]:
    across = _LEFT + x.share(value_x) * (_WIDTH - _LEFT - _RIGHT)
    down = _HEIGHT - _BOTTOM - y.share(value_y) * (_HEIGHT - _TOP - _BOTTOM)
    return round(across, 1), round(down, 1)


def _grid(x: Axis, y: Axis) -> Markup:
    parts = []
    for step in range(5):
        share = step / 4
        across, down = _place(
            x.low + share * (x.high - x.low), y.low + share * (y.high - y.low), x, y
        )
        bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
        parts.append(
            Markup(
                '<path class="grid" d="M{a} {t}V{b}M{l} {d}H{r}"/>'
                '<text class="tick" x="{a}" y="{bt}" text-anchor="middle">{xv}</text>'
                '<text class="tick" x="{lt}" y="{dt}" text-anchor="end">{yv}</text>'
            ).format(
                a=across,
                t=_TOP,
                b=bottom,
                l=_LEFT,
                d=down,
                r=right,
                bt=bottom + 15,
                lt=_LEFT - 6,
                dt=down + 4,
                xv=_number(x.low + share * (x.high - x.low)),
                yv=_number(y.low + share * (y.high - y.low)),
            )
        )
    middle = _LEFT + (_WIDTH - _LEFT - _RIGHT) / 2
    parts.append(
        Markup(
            '<text class="label" x="{m}" y="{b}" text-anchor="middle">{x}</text>'
            '<text class="label" transform="translate(13 {v}) rotate(-90)" '
            'text-anchor="middle">{y}</text>'
        ).format(
            m=middle, b=_HEIGHT - 8, x=x.label, v=_TOP + (_HEIGHT - _TOP - _BOTTOM) / 2, y=y.label
        )
    )
    return Markup("").join(parts)


def _polyline(line: Line, x: Axis, y: Axis) -> Markup:
    places = [_place(*point, x, y) for point in line.points]
    path = " ".join(f"{across},{down}" for across, down in places)
    return Markup('<polyline class="{style}" points="{path}"/>').format(style=line.style, path=path)


def _mark(at: tuple[float, float, str], x: Axis, y: Axis) -> Markup:
    across, down = _place(at[0], at[1], x, y)
    return Markup(
        '<circle class="mark" cx="{a}" cy="{d}" r="4"><title>{t}</title></circle>'
    ).format(a=across, d=down, t=at[2])


def _legend(line: Line, row: int) -> Markup:
    down = _HEIGHT - _BOTTOM - 12 - 17 * row
    return Markup(
        '<path class="{s}" d="M{a} {d}h22"/><text class="tick" x="{t}" y="{b}">{n}</text>'
    ).format(s=line.style, a=_WIDTH - 190, d=down, t=_WIDTH - 162, b=down + 4, n=escape(line.name))


def _number(value: float) -> str:
    return f"{value:.3g}"

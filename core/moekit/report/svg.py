"""Charts as SVG, for pages that load nothing. Colours come from the page's CSS classes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence

from markupsafe import Markup

Points = Sequence[tuple[float, float]]
Band = Sequence[tuple[float, float, float]]
_WIDTH, _HEIGHT = 380, 318
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 34, 46
_BAR_WIDTH, _BAR_LEFT, _BAR_RIGHT = 220, 8, 8
_LEGEND_COLUMNS = 2
_SHEET = Markup(
    "svg { background: #fff } .grid { stroke: #dfe4ea; fill: none } "
    ".tick, .label { fill: #5b6675; font: 11px sans-serif } .label { font-size: 12px } "
    "[class^=curve] { fill: none; stroke-width: 2 } .curve-a { stroke: #0b62c4 } "
    ".curve-b { stroke: #b94f14; stroke-dasharray: 5 3 } "
    ".curve-c { stroke: #1a6d3f; stroke-dasharray: 2 2 } "
    ".curve-d { stroke: #7a3fa0; stroke-dasharray: 8 3 2 3 }"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Line:
    """One curve.

    Attributes:
        name: In the legend.
        points: In data units; points that are not finite are left out.
        style: CSS class of its colour.
        band: Its interval, drawn as an area behind it.
    """

    name: str
    points: Points
    style: str
    band: Band = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis: its label, and the data values at its ends."""

    label: str
    low: float
    high: float

    @classmethod
    def around(cls, label: str, values: Iterable[float]) -> Axis:
        """An axis from round number to round number that holds all finite values."""
        finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
        low, high = min(finite), max(finite)
        if low == high:
            step = _round_step(low, high)
            low, high = low - step, high + step
        for _ in range(2):  # a rounded range may ask for a wider step
            step = _round_step(low, high)
            low = math.floor(low / step + 1e-9) * step
            high = math.ceil(high / step - 1e-9) * step
        return cls(label=label, low=low, high=high)

    def share(self, value: float) -> float:
        """Where a value lies between the ends, from 0 to 1."""
        return (value - self.low) / ((self.high - self.low) or 1.0)

    def ticks(self) -> list[float]:
        """Round numbers from end to end."""
        step = _round_step(self.low, self.high)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


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
        title: What a screen reader says first.
        lines: The curves.
        x: Horizontal axis.
        y: Vertical axis.
        marks: Single points, with a text each.
    """
    parts = [_grid(x, y)]
    parts += [_area(line, x, y) for line in lines if line.band]
    parts += [_polyline(line, x, y) for line in lines]
    parts += [_mark(at, x, y) for at in marks]
    parts += [_legend(line, column) for column, line in enumerate(lines)]
    described = f"{y.label} against {x.label}: {', '.join(line.name for line in lines)}"
    return _drawing(title, described, _WIDTH, _HEIGHT, parts)


def sheet(title: str, charts: Sequence[tuple[str, Markup]], *, columns: int = 3) -> Markup:
    """Charts of `line_chart` as one drawing that stands alone, with colours of its own.

    Args:
        title: What a screen reader says first.
        charts: Their headings and themselves, from left to right and row by row.
        columns: How many stand side by side.
    """
    across, down = _WIDTH + 20, _HEIGHT + 34
    rows = -(-len(charts) // columns)
    placed = Markup("").join(
        Markup('<g transform="translate({x} {y})"><svg width="{w}" height="{h}"{rest}</g>').format(
            x=10 + across * (number % columns),
            y=24 + down * (number // columns),
            w=_WIDTH,
            h=_HEIGHT,
            rest=Markup(chart.removeprefix("<svg")),  # noqa: S704 - made by this module
        )
        + Markup('<text class="label" x="{x}" y="{y}">{text}</text>').format(
            x=10 + _LEFT + across * (number % columns),
            y=18 + down * (number // columns),
            text=heading,
        )
        for number, (heading, chart) in enumerate(charts)
    )
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" role="img">'
        "<title>{title}</title><style>{style}</style>{body}</svg>\n"
    ).format(w=20 + across * columns, h=down * rows + 20, title=title, style=_SHEET, body=placed)


def interval_chart(title: str, entries: Sequence[tuple[str, float, float, float]]) -> Markup:
    """Intervals below each other on one scale of their own, whose ends are labelled.

    Args:
        title: What a screen reader says first.
        entries: CSS class, value, low end and high end of each; at least one.
    """
    axis = Axis.around("", [number for entry in entries for number in entry[1:]])
    span = _BAR_WIDTH - _BAR_LEFT - _BAR_RIGHT
    base = 12 * len(entries) + 4
    parts = [
        Markup(
            '<path class="grid" d="M{l} {b}H{r}M{l} {b}v4M{r} {b}v4"/>'
            '<text class="tick" x="{l}" y="{t}">{low}</text>'
            '<text class="tick" x="{r}" y="{t}" text-anchor="end">{high}</text>'
        ).format(
            l=_BAR_LEFT,
            r=_BAR_LEFT + span,
            b=base,
            t=base + 14,
            low=_number(axis.low),
            high=_number(axis.high),
        )
    ]
    for row, (style, *numbers) in enumerate(entries):
        value, low, high = (round(_BAR_LEFT + span * axis.share(number), 1) for number in numbers)
        parts.append(
            Markup(
                '<path class="{s} solid" d="M{low} {y}H{high}M{low} {t}v6M{high} {t}v6"/>'
                '<circle class="{s} dot" cx="{value}" cy="{y}" r="3.5"/>'
            ).format(s=style, value=value, low=low, high=high, y=8 + 12 * row, t=5 + 12 * row)
        )
    described = "; ".join(
        f"{_number(value)}, 95% interval {_number(low)} to {_number(high)}"
        for _, value, low, high in entries
    )
    return _drawing(title, described, _BAR_WIDTH, base + 18, parts)


def _drawing(title: str, described: str, width: int, height: int, parts: list[Markup]) -> Markup:
    return Markup(
        '<svg viewBox="0 0 {w} {h}" role="img" aria-label="{title}. {described}">'
        "<title>{title}</title><desc>{described}</desc>{body}</svg>"
    ).format(w=width, h=height, title=title, described=described, body=Markup("").join(parts))


def _place(value_x: float, value_y: float, x: Axis, y: Axis) -> tuple[float, float]:
    across = _LEFT + x.share(value_x) * (_WIDTH - _LEFT - _RIGHT)
    down = _HEIGHT - _BOTTOM - y.share(value_y) * (_HEIGHT - _TOP - _BOTTOM)
    return round(across, 1), round(down, 1)


def _grid(x: Axis, y: Axis) -> Markup:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    parts = [
        Markup(
            '<path class="grid" d="M{a} {t}V{b}"/>'
            '<text class="tick" x="{a}" y="{d}" text-anchor="middle">{v}</text>'
        ).format(a=_place(tick, y.low, x, y)[0], t=_TOP, b=bottom, d=bottom + 15, v=_number(tick))
        for tick in x.ticks()
    ]
    parts += [
        Markup(
            '<path class="grid" d="M{l} {d}H{r}"/>'
            '<text class="tick" x="{a}" y="{t}" text-anchor="end">{v}</text>'
        ).format(l=_LEFT, r=right, a=_LEFT - 6, d=down, t=down + 4, v=_number(tick))
        for tick in y.ticks()
        for down in [_place(x.low, tick, x, y)[1]]
    ]
    parts.append(
        Markup(
            '<text class="label" x="{a}" y="{b}" text-anchor="middle">{x}</text>'
            '<text class="label" transform="translate(13 {d}) rotate(-90)" '
            'text-anchor="middle">{y}</text>'
        ).format(a=(_LEFT + right) / 2, b=_HEIGHT - 8, d=(_TOP + bottom) / 2, x=x.label, y=y.label)
    )
    return Markup("").join(parts)


def _polyline(line: Line, x: Axis, y: Axis) -> Markup:
    finite = [point for point in line.points if all(map(math.isfinite, point))]
    path = " ".join(f"{a},{d}" for a, d in (_place(*point, x, y) for point in finite))
    return Markup('<polyline class="{style}" points="{path}"/>').format(style=line.style, path=path)


def _area(line: Line, x: Axis, y: Axis) -> Markup:
    upper = [_place(at, high, x, y) for at, _, high in line.band]
    lower = [_place(at, low, x, y) for at, low, _ in reversed(line.band)]
    path = " ".join(f"{across},{down}" for across, down in upper + lower)
    return Markup('<polygon class="{style} area" points="{path}"/>').format(
        style=line.style, path=path
    )


def _mark(at: tuple[float, float, str], x: Axis, y: Axis) -> Markup:
    across, down = _place(at[0], at[1], x, y)
    return Markup(
        '<circle class="mark" cx="{a}" cy="{d}" r="4.5"><title>{t}</title></circle>'
    ).format(a=across, d=down, t=at[2])


def _legend(line: Line, number: int) -> Markup:
    left = _LEFT + number % _LEGEND_COLUMNS * 150
    down = 16 + number // _LEGEND_COLUMNS * 13
    return Markup(
        '<path class="{s}" d="M{a} {d}h24"/><text class="tick" x="{t}" y="{e}">{n}</text>'
    ).format(s=line.style, a=left, d=down, t=left + 30, e=down + 4, n=line.name)


def _round_step(low: float, high: float) -> float:
    """1, 2 or 5 times a power of ten, four to seven of which span the range."""
    rough = (high - low) / 5 or abs(high) / 5 or 0.2
    power = 10.0 ** math.floor(math.log10(rough))
    return next((power * factor for factor in (1, 2, 5) if power * factor >= rough), power * 10)


def _number(value: float) -> str:
    return f"{value:.3g}" if value else "0"

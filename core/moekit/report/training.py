"""The course of a training as charts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from moekit.report.drawing import STYLES, Chart
from moekit.report.run_files import Epoch
from moekit.report.svg import Axis, Line, line_chart

_SPLITS = {"train": ("training", STYLES["kit"]), "val": ("validation", STYLES["baseline"])}
_LOSS = "loss"


def training_charts(
    epochs: Sequence[Epoch] | None, names: Mapping[str, str]
) -> tuple[Chart, ...] | None:
    """One chart of the losses, then one of each other figure, all against the epoch.

    Args:
        epochs: The history; figures named `train_NAME` and `val_NAME` are drawn.
        names: How a name is written on the page.

    Returns:
        The charts; empty if no epoch has a figure of the training split, which means that
        nothing was trained by gradients. None without a history.
    """
    if not epochs:
        return None
    found = dict.fromkeys(name for epoch in epochs for name in epoch.names())
    drawn = [name for name in found if any(math.isfinite(epoch.figure(name)) for epoch in epochs)]
    if not any(name.startswith("train_") for name in drawn):
        return ()
    figures = dict.fromkeys(name.partition("_")[2] for name in drawn)
    charts = [
        _chart(epochs, figure, [name for name in drawn if name.partition("_")[2] == figure], names)
        for figure in sorted(figures, key=lambda figure: figure != _LOSS)
    ]
    return tuple(charts)


def _chart(
    epochs: Sequence[Epoch], figure: str, drawn: Sequence[str], names: Mapping[str, str]
) -> Chart:
    written = names.get(figure, figure.replace("_", " "))
    splits = [_SPLITS[name.partition("_")[0]] for name in drawn]
    title = written if len(drawn) > 1 else f"{splits[0][0]} {written}"
    title = title[:1].upper() + title[1:]
    lines = [
        Line(
            name=split,
            points=[(epoch.epoch, epoch.figure(name)) for epoch in epochs],
            style=style,
        )
        for name, (split, style) in zip(drawn, splits, strict=True)
    ]
    x = Axis.around("epoch", [epoch.epoch for epoch in epochs])
    y = Axis.around(written, [value for line in lines for _, value in line.points])
    return Chart(title=title, drawing=line_chart(title, lines, x=x, y=y))

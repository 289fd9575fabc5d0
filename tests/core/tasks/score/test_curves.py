"""Curves, bands and the threshold table, and the axes that they are drawn on."""

import math

import numpy as np
import pytest

from moekit.evaluation.bootstrap import Resamples
from moekit.report.svg import Axis
from moekit.tasks.score.curves import (
    MOST_POINTS,
    precision_recall_band,
    precision_recall_points,
    roc_band,
    roc_points,
    threshold_table,
)
from moekit.tasks.score.metrics import auroc
from moekit.tasks.score.predictions import Predictions


def make(n=300, groups=None):
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, n)
    scores = np.clip(0.3 * labels + generator.random(n) * 0.7, 0, 1)
    return Predictions(ids=tuple(map(str, range(n))), labels=labels, scores=scores, groups=groups)


@pytest.mark.parametrize("n", [4, 300, 30_000])
def test_a_thinned_curve_keeps_its_ends_and_its_area(n):
    drawn = make(n)
    points = np.array(roc_points(drawn.scores, drawn.labels))
    assert len(points) <= MOST_POINTS
    assert points[0].tolist() == [0, 0]
    assert points[-1].tolist() == [1, 1]
    area = np.trapezoid(points[:, 1], points[:, 0])
    assert area == pytest.approx(auroc(drawn.scores, drawn.labels), abs=1e-3)


@pytest.mark.parametrize(
    ("points", "band"),
    [(roc_points, roc_band), (precision_recall_points, precision_recall_band)],
)
def test_a_band_surrounds_its_curve(points, band):
    drawn = make()
    x, y = np.array(points(drawn.scores, drawn.labels)).T
    at, low, high = np.array(
        band(drawn.scores, drawn.labels, Resamples(drawn, seed=0, count=200))
    ).T
    inside = (low - 0.02 <= np.interp(at, x, y)) & (np.interp(at, x, y) <= high + 0.02)
    assert inside.mean() > 0.95
    assert (high - low).max() > 0.05


def test_one_group_has_no_band():
    drawn = make(groups=("same",) * 300)
    assert roc_band(drawn.scores, drawn.labels, Resamples(drawn, seed=0)) == ()


def test_a_row_of_the_table_keeps_to_its_share_and_appears_once():
    scores = np.concatenate([np.linspace(0.5, 0.9, 10), np.linspace(0, 0.6, 10)])
    rows = threshold_table(scores, np.repeat([1, 0], 10))
    assert [row["missed"] for row in rows] == [0, 1, 2, 3]
    assert rows[-1]["missed_rate"] == pytest.approx(0.3)
    assert rows[0]["false_alarms"] == 2


@pytest.mark.parametrize(
    "values", [[0.1968, 0.687], [0.87, 0.957], [1, 18], [3, 3], [0, 0], [-2, 5e6], [math.nan]]
)
def test_an_axis_holds_its_values_and_ends_on_ticks(values):
    axis = Axis.around("x", values)
    ticks = axis.ticks()
    assert all(axis.low <= value <= axis.high for value in values if math.isfinite(value))
    assert 2 <= len(ticks) <= 9
    assert ticks[0] == pytest.approx(axis.low)
    assert ticks[-1] == pytest.approx(axis.high)

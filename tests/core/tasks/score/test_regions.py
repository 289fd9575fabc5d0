"""Regions of a map: boxes and areas in pixels of the picture."""

import numpy as np
import pytest

from moekit.tasks.score.regions import find_regions


def test_regions_are_told_in_pixels_the_largest_first():
    evidence = np.zeros((8, 8), dtype=np.float32)
    evidence[0, 0], evidence[4:7, 3:6] = 0.9, 0.7
    first, second = find_regions(evidence, threshold=0.5, size=(80, 160))
    assert first["peak"] == pytest.approx(0.7)
    assert 0 < first["x"] - 60 <= 8
    assert 0 < first["y"] - 40 <= 4
    assert first["area"] <= first["width"] * first["height"] <= 9 * 10 * 20
    assert second == {**second, "x": 0, "y": 0}
    assert first["area"] > second["area"]


def test_areas_agree_with_the_enlarged_map():
    draw = np.random.default_rng(0)
    evidence = draw.random((6, 6)).astype(np.float32)
    regions = find_regions(evidence, threshold=0.0, size=(30, 42))
    assert [region["area"] for region in regions] == [30 * 42]


def test_regions_that_touch_at_a_corner_are_one():
    evidence = np.eye(4, dtype=np.float32)
    assert len(find_regions(evidence, threshold=0.5, size=(4, 4))) == 1


def test_a_map_below_the_threshold_has_none():
    assert find_regions(np.full((4, 4), 0.4), threshold=0.5, size=(40, 40)) == []


def test_there_are_at_most_fifty():
    evidence = np.zeros((40, 40), dtype=np.float32)
    evidence[::2, ::2] = 1
    assert len(find_regions(evidence, threshold=0.5, size=(40, 40))) == 50

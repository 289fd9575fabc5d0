"""Evidence along lines."""

from __future__ import annotations

import pytest
import torch

from moekit import Grid
from moekit_industrial.anomaly.lines import LENGTH, along_lines

GRID = Grid(9, 12)
STEPS = {"row": (0, 1), "column": (1, 0), "falling": (1, 1), "rising": (-1, 1)}


@pytest.mark.parametrize("direction", STEPS)
def test_a_line_in_each_direction_keeps_its_height_and_a_point_a_fifth(direction: str) -> None:
    down, right = STEPS[direction]
    plane = torch.zeros(2, GRID.rows, GRID.columns)
    for n in range(-(LENGTH // 2), LENGTH // 2 + 1):
        plane[0, 4 + n * down, 6 + n * right] = 3.0
    plane[1, 4, 6] = 3.0
    line, point = along_lines(plane.flatten(1), GRID).view_as(plane)
    assert line[4, 6] == pytest.approx(3.0)
    assert point.max() == pytest.approx(3.0 / LENGTH)


@pytest.mark.parametrize("grid", [GRID, Grid(2, 7), Grid(1, 1)])
def test_an_even_map_stays_as_it_is_up_to_the_border(grid: Grid) -> None:
    even = torch.full((3, grid.patches), 0.7)
    torch.testing.assert_close(along_lines(even, grid), even)

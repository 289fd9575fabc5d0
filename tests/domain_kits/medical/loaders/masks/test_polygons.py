"""Polygons as pixels, by hand."""

import numpy as np
import pytest

from moekit_medical.loaders.masks.polygons import fill_polygon

SQUARE = np.array([(0.5, 1.5), (0.5, 4.5), (3.5, 4.5), (3.5, 1.5)])


def test_pixels_whose_centres_lie_within_are_filled():
    expected = np.zeros((6, 7), dtype=bool)
    expected[1:4, 2:5] = True
    assert np.array_equal(fill_polygon(SQUARE, (6, 7)), expected)
    assert np.array_equal(fill_polygon(SQUARE[::-1], (6, 7)), expected)


def test_polygons_that_share_an_edge_share_no_pixel_and_leave_none_out():
    left = np.array([(0.0, 0.0), (0.0, 3.0), (5.0, 3.0), (5.0, 0.0)])
    right = left + np.array((0, 3))
    first, second = fill_polygon(left, (6, 7)), fill_polygon(right, (6, 7))
    assert not (first & second).any()
    assert (first | second).sum() == 5 * 6


def test_a_keyhole_is_a_hole():
    outer = [(-0.5, -0.5), (-0.5, 8.5), (8.5, 8.5), (8.5, -0.5), (-0.5, -0.5)]
    inner = [(2.5, 2.5), (5.5, 2.5), (5.5, 5.5), (2.5, 5.5), (2.5, 2.5)]
    filled = fill_polygon(np.array([*outer, *inner]), (9, 9))
    expected = np.ones((9, 9), dtype=bool)
    expected[3:6, 3:6] = False
    assert np.array_equal(filled, expected)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_less_than_three_corners_fill_nothing(count):
    assert not fill_polygon(SQUARE[:count], (6, 7)).any()


def test_what_lies_beyond_the_picture_is_cut_off():
    assert fill_polygon(SQUARE * 100 - 150, (6, 7)).all()


def test_a_circle_has_its_area():
    angle = np.linspace(0, 2 * np.pi, 400)
    filled = fill_polygon(
        np.stack([20.3 + 15 * np.sin(angle), 20.3 + 15 * np.cos(angle)], 1), (41, 41)
    )
    assert filled.sum() == pytest.approx(np.pi * 15**2, rel=0.02)

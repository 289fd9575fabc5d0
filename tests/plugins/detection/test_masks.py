"""Runs of masks, polygons, and lengths next to pycocotools and arithmetic."""

import numpy as np
import pytest
from pycocotools import mask as coco

from moekit.testing import refused
from moekit_detection.instances.regions import regions_of
from moekit_detection.masks.measure import length_and_width
from moekit_detection.masks.polygons import polygon_runs
from moekit_detection.masks.runs import (
    Masks,
    counts_of,
    overlaps,
    runs_of,
    runs_of_counts,
    united,
)


def dense(masks, place):
    """(H, W) the pixels of a mask."""
    plane = np.zeros(masks.size, dtype=bool)
    (top, left), pixels = masks.crop(place)
    plane[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return plane


def drawn(seed, count=12, size=(37, 53)):
    """Random masks: noise of many densities, full columns, a full and an empty one."""
    generator = np.random.default_rng(seed)
    planes = [generator.random(size) < generator.random() for _ in range(count)]
    planes[0][:] = False
    planes[1][:] = True
    planes[2][:] = False
    planes[2][:, 10:20] = True
    planes[3][:, :-1] = False
    return planes


def of(planes):
    return Masks.of(planes[0].shape, [runs_of(plane) for plane in planes])


def test_masks_are_those_of_pycocotools():
    planes = drawn(0)
    masks = of(planes)
    for place, plane in enumerate(planes):
        wanted = coco.encode(np.asfortranarray(plane.astype(np.uint8)))
        assert masks.text(place) == wanted["counts"].decode()
        assert masks.area_G[place] == coco.area(wanted) == plane.sum()
        np.testing.assert_array_equal(masks.box_G4[place], coco.toBbox(wanted))
        np.testing.assert_array_equal(dense(masks, place), plane)
        again = Masks.read(masks.size, [masks.text(place)])
        np.testing.assert_array_equal(again.run_R2, masks.runs(place))
        counts = counts_of(masks.runs(place), masks.size)
        np.testing.assert_array_equal(runs_of_counts(counts, masks.size), masks.runs(place))


def test_overlaps_are_those_of_pycocotools():
    found, true = of(drawn(1)), of(drawn(2, count=7))
    crowd = np.array([False, True] * 3 + [True])
    said = [
        [{"size": list(one.size), "counts": one.text(place)} for place in range(len(one))]
        for one in (found, true)
    ]
    np.testing.assert_array_equal(
        overlaps(found, true, crowd), coco.iou(*said, crowd.astype(int).tolist())
    )
    assert overlaps(found.take([]), true, crowd).shape == (0, 7)
    assert overlaps(found, true.take([]), crowd[:0]).shape == (12, 0)


def test_masks_are_taken_by_positions_and_by_flags():
    masks = of(drawn(3))
    for rows in ([4, 0, 4], np.arange(12) % 3 == 0, slice(2, 5)):
        part = masks.take(rows)
        np.testing.assert_array_equal(part.area_G, masks.area_G[rows])
        np.testing.assert_array_equal(part.box_G4, masks.box_G4[rows])


def test_pixels_are_asked_for_by_their_places_also_outside_of_the_picture():
    planes = drawn(4)
    masks = of(planes)
    rows, columns = np.meshgrid(np.arange(-2, 40), np.arange(-2, 56), indexing="ij")
    for place, plane in enumerate(planes):
        held = masks.holds(place, columns.ravel(), rows.ravel()).reshape(rows.shape)
        np.testing.assert_array_equal(held, np.pad(plane, ((2, 3), (2, 3))))


def test_runs_that_do_not_fill_the_picture_are_refused():
    with pytest.raises(ValueError, match="7 pixels do not fill 2 x 4"):
        runs_of_counts([3, 4], (2, 4))
    with pytest.raises(ValueError, match="fill"):
        runs_of_counts([9, -1], (2, 4))
    with refused("data/run-lengths"):
        Masks.read((2, 4), ["~"])


def test_runs_that_overlap_or_touch_are_one():
    made = united([np.array([[5, 9], [0, 2]]), np.array([[2, 3], [6, 7], [12, 12]])])
    assert made.tolist() == [[0, 3], [5, 9]]


# pycocotools 2.0 hands on the warning of its own decoder.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("kind", ["any", "whole", "half", "twice"])
def test_polygons_have_the_pixels_of_pycocotools(kind):
    generator = np.random.default_rng(len(kind))
    for _ in range(60):
        height, width = generator.integers(1, 70, 2).tolist()
        corner = generator.uniform(-0.3, 1.3, (int(generator.integers(3, 12)), 2)) * (width, height)
        if kind == "whole":
            corner = np.round(corner)
        elif kind == "half":
            corner = np.round(2 * corner) / 2
        elif kind == "twice":
            corner[1] = corner[0]
        drawn_by_coco = coco.frPyObjects([corner.reshape(-1).tolist()], height, width)[0]
        wanted = coco.encode(coco.decode(drawn_by_coco))
        masks = Masks.of((height, width), [polygon_runs(corner, (height, width))])
        assert masks.text(0) == wanted["counts"].decode()


def rectangle(angle, sides, size=(160, 160)):
    rows, columns = np.ogrid[: size[0], : size[1]]
    x, y = columns + 0.5 - size[1] / 2, rows + 0.5 - size[0] / 2
    along = x * np.cos(angle) + y * np.sin(angle)
    across = y * np.cos(angle) - x * np.sin(angle)
    return (np.abs(along) < sides[0] / 2) & (np.abs(across) < sides[1] / 2)


@pytest.mark.parametrize("angle", [0.0, 0.3, np.pi / 4, 1.2, np.pi / 2])
def test_length_and_width_are_those_of_the_rectangle_at_any_angle(angle):
    length, width = length_and_width(of([rectangle(angle, (100, 20))]), 0)
    assert length == pytest.approx(100, abs=1.5)
    assert width == pytest.approx(20, abs=1.5)


def test_a_pixel_is_a_square_and_nothing_has_no_length():
    one, row = np.zeros((5, 9), bool), np.zeros((5, 9), bool)
    one[2, 3] = True
    row[2, 2:7] = True
    masks = of([one, row, np.zeros((5, 9), bool)])
    assert length_and_width(masks, 0) == (1, 1)
    assert length_and_width(masks, 1) == (5, 1)
    assert length_and_width(masks, 2) == (0, 0)


def test_each_connected_region_is_an_object_and_corners_connect():
    plane = np.zeros((8, 10), bool)
    plane[1, 1] = plane[2, 2] = plane[5:8, 4:6] = True
    masks = regions_of(plane)
    assert masks.area_G.tolist() == [2, 6]
    assert masks.box_G4.tolist() == [[1, 1, 2, 2], [4, 5, 2, 3]]
    assert len(regions_of(np.zeros((3, 3), bool))) == 0

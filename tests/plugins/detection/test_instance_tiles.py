"""Masks in windows of large pictures: cut for learning, and put together again for answers."""

import numpy as np
import pytest
import torch

from moekit import Frame, TaskContext
from moekit.data import Box
from moekit.data.windows import windows
from moekit_detection.instances.pixels import FEATURE, KERNEL, decode_instances
from moekit_detection.instances.tiles import MergedMasks, _layers
from moekit_detection.masks.runs import Masks, runs_of
from moekit_detection.records import BOX, LOGIT, Objects, in_window
from tests.plugins.detection.mask_cases import SIDE, SQUARE, ellipse, outputs, share


def context(frame=SQUARE):
    return TaskContext(classes=("nut", "bolt"), vocabulary={}, frame=frame, options={})


def merged(size, boxes, *found, frame=SQUARE, batch=2):
    """The objects of a picture whose windows found these."""
    whole = MergedMasks(size, context(frame))
    for first in range(0, len(boxes), batch):
        part = [outputs(*one) for one in found[first : first + batch]]
        names = (LOGIT, BOX, FEATURE, KERNEL)
        whole.add(
            boxes[first : first + batch],
            {name: torch.cat([o[name] for o in part]) for name in names},
        )
    row = {name: value[0] for name, value in whole.finish().items()}
    found = decode_instances(row, Frame(height=size[0], width=size[1]), size, context(frame))
    return found.take(found.score_G > 0.5)


def nothing():
    return [(0, 0.01, 0.5, 0.5, 0.1, 0.1)]


def test_masks_lie_where_their_windows_do():
    size, boxes = (112, 280), windows((112, 280), (SIDE, SIDE))
    assert [box.left for box in boxes] == [0, 84, 168]
    near, far = (0, 0.9, 0.3, 0.4, 0.4, 0.2), (1, 0.8, 0.3, 0.6, 0.4, 0.3)
    objects = merged(size, boxes, [near], nothing(), [far])
    assert objects.label_G.tolist() == [0, 1]
    for place, (left, top) in enumerate([(0, 0), (168, 0)]):
        x, y, w, h = (np.array((near, far)[place][2:]) * SIDE).tolist()
        plane = ellipse((left + x - w / 2, top + y - h / 2, w, h), size)
        assert share(objects.masks, place, plane) > 0.9


def test_an_object_of_the_overlap_is_one_and_whole():
    size, boxes = (112, 200), [Box(0, 0, SIDE, SIDE), Box(0, 88, SIDE, SIDE)]
    first, second = (0, 0.9, 100 / 112, 0.5, 0.1, 0.3), (0, 0.8, 12 / 112, 0.5, 0.1, 0.3)
    objects = merged(size, boxes, [first], [second])
    assert len(objects) == 1
    assert share(objects.masks, 0, ellipse((94.4, 39.2, 11.2, 33.6), size)) > 0.85


def test_a_mask_reads_its_own_window_though_another_lies_in_its_layer():
    """Five windows in a row take two layers: the first, third and fifth lie in one."""
    size, boxes = (112, 448), windows((112, 448), (SIDE, SIDE))
    assert _layers(boxes) == [0, 1, 0, 1, 0]
    one = (0, 0.9, 0.5, 0.5, 0.9, 0.9)
    objects = merged(size, boxes, [one], nothing(), [one], nothing(), [one])
    assert len(objects) == 3
    assert len(set(objects.masks.area_G.tolist())) == 1
    shared = objects.masks.shared_pixels(objects.masks)
    assert np.count_nonzero(shared) == 3


@pytest.mark.parametrize(("tile", "overlap"), [(56, 0.25), (224, 0.25), (112, 0.7)])
def test_windows_of_other_sizes_and_overlaps(tile, overlap):
    size = (300, 410)
    boxes = windows(size, (tile, tile), overlap=overlap)
    chosen = len(boxes) // 2
    found = [nothing()] * len(boxes)
    found[chosen] = [(1, 0.9, 0.5, 0.5, 0.5, 0.3)]
    objects = merged(size, boxes, *found, batch=7)
    assert len(objects) == 1
    box = boxes[chosen]
    plane = ellipse((box.left + tile / 4, box.top + tile * 0.35, tile / 2, tile * 0.3), size)
    assert share(objects.masks, 0, plane) > 0.85


def test_a_picture_lower_than_a_window_lies_in_a_letterbox():
    frame = Frame(height=SIDE, width=SIDE, fit="letterbox")
    size, boxes = (56, 300), windows((56, 300), (SIDE, SIDE))
    found = [[(0, 0.9, 0.5, 0.5, 0.4, 0.2)], *[nothing()] * (len(boxes) - 1)]
    objects = merged(size, boxes, *found, frame=frame)
    assert share(objects.masks, 0, ellipse((33.6, 16.8, 44.8, 22.4), size)) > 0.85


def drawn():
    plane = np.zeros((3, 40, 60), dtype=bool)
    plane[0, 2:10, 3:21] = True
    plane[1, 8:12, 15:18] = plane[1, 30:33, 50:55] = True
    plane[2, 15, 15] = True
    return plane


@pytest.mark.parametrize(
    "window", [(0, 0, 40, 60), (5, 10, 20, 20), (0, 18, 10, 42), (30, 0, 10, 9)]
)
def test_masks_are_cut_at_the_sides_of_a_window(window):
    masks = Masks.of((40, 60), [runs_of(plane) for plane in drawn()])
    top, left, height, width = window
    cut = masks.within(window)
    assert cut.size == (height, width)
    for place, plane in enumerate(drawn()):
        expected = Masks.of(
            (height, width), [runs_of(plane[top : top + height, left : left + width])]
        )
        assert cut.text(place) == expected.text(0)


def test_an_object_whose_mask_is_elsewhere_is_no_object_of_a_window():
    masks = Masks.of((40, 60), [runs_of(plane) for plane in drawn()])
    objects = Objects.of(masks.box_G4, [0, 1, 0], area_G=masks.area_G, masks=masks)
    seen = in_window(objects, (12, 10, 18, 40))  # between both parts of the second
    assert seen.label_G.tolist() == [0]
    assert seen.box_G4.tolist() == [[5, 3, 1, 1]]
    assert seen.masks.area_G.tolist() == [1]

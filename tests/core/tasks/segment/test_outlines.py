"""Regions and shares of large planes."""

import tracemalloc

import numpy as np
from scipy import ndimage

from moekit.tasks.segment import outlines as outlines_module
from moekit.tasks.segment.answers import SegmentAnswer


def test_regions_and_shares_of_a_large_plane_need_few_copies_of_it():
    rng = np.random.default_rng(0)
    class_HW = np.zeros((2000, 2500), dtype=np.uint8)
    for top, left in rng.integers(0, 1900, (30, 2)):
        class_HW[top : top + 60, left : left + 90] = 1 + top % 2
    names = ("background", "a", "b")
    tracemalloc.start()
    answer = SegmentAnswer(class_HW=class_HW, classes=names, background=(0,))
    counts, regions = answer.pixels_C, answer.regions
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * class_HW.nbytes  # int32 labels, a mask, and a strip of counts
    assert counts.tolist() == np.bincount(class_HW.reshape(-1)).tolist()
    for number in (1, 2):
        labels, count = ndimage.label(class_HW == number, structure=np.ones((3, 3)))
        areas = np.bincount(labels.reshape(-1))[1:]
        boxes = [
            (c.start, r.start, c.stop - c.start, r.stop - r.start)
            for r, c in ndimage.find_objects(labels)
        ]
        found = {
            (one["x"], one["y"], one["width"], one["height"], one["area"])
            for one in regions
            if one["label"] == names[number]
        }
        expected = {(*box, area) for box, area in zip(boxes, areas.tolist(), strict=True)}
        assert len(found) == count
        assert found == expected


def test_numbers_are_counted_strip_by_strip(monkeypatch):
    values = np.random.default_rng(0).integers(0, 9, (31, 7))
    whole = outlines_module.count_values(values, 3)
    monkeypatch.setattr(outlines_module, "_STRIP", 20)
    assert outlines_module.count_values(values, 3).tolist() == whole.tolist()
    assert whole.tolist() == np.bincount(values.reshape(-1)).tolist()
    assert outlines_module.count_values(values[:0], 3).tolist() == [0, 0, 0]

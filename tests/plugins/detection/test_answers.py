"""How outputs become objects of a picture, of views and of windows."""

import numpy as np
import pytest
import torch

from moekit import Frame, Item, TaskContext
from moekit.data import Box, unview_boxes, view_boxes
from moekit_detection.answers import MOST, SCORE, answers, best_found, decode, derive, merge
from moekit_detection.judging.points import DetectPoint
from moekit_detection.records import BOX, LOGIT
from moekit_detection.tiles import Merged

SQUARE = Frame(height=100, width=100)


def context(frame=SQUARE, **options):
    return TaskContext(classes=("cat", "dog"), vocabulary={}, frame=frame, options=options)


def outputs(*found):
    """One item's outputs of (class, score, cx, cy, w, h)."""
    logit = torch.full((1, len(found), 2), -9.0)
    for row, (label, score, *_) in enumerate(found):
        logit[0, row, label] = float(np.log(score / (1 - score)))
    return {LOGIT: logit, BOX: torch.tensor([[one[2:] for one in found]]).float()}


def row_of(found):
    return {name: value[0] for name, value in found.items()}


def test_the_best_come_first_and_doubles_of_a_class_go():
    found = outputs(
        (0, 0.6, 0.50, 0.5, 0.2, 0.2),
        (0, 0.9, 0.51, 0.5, 0.2, 0.2),
        (1, 0.7, 0.50, 0.5, 0.2, 0.2),
        (0, 0.3, 0.80, 0.5, 0.2, 0.2),
    )
    objects = decode(row_of(found), SQUARE, (100, 100), context())
    assert objects.score_G == pytest.approx([0.9, 0.7, 0.3])
    assert objects.label_G.tolist() == [0, 1, 0]
    np.testing.assert_allclose(objects.box_G4[0], [41, 40, 20, 20], atol=1e-4)
    kept_all = decode(row_of(found), SQUARE, (100, 100), context(overlap=0.99))
    assert len(kept_all) == len(objects) + 1, "a kit may allow more overlap"


def test_boxes_of_a_letterbox_lie_in_the_picture_and_end_at_its_sides():
    frame = Frame(height=100, width=100, fit="letterbox")
    found = outputs((0, 0.9, 0.5, 0.5, 1.0, 0.5), (1, 0.8, 0.5, 0.1, 0.2, 0.1))
    objects = decode(row_of(found), frame, (50, 100), context(frame))
    assert len(objects) == 1, "what lies in the border alone is nothing"
    np.testing.assert_allclose(objects.box_G4, [[0, 0, 100, 50]], atol=1e-4)


def test_at_most_a_hundred_objects_are_answered():
    found = outputs(*((0, 0.5, 0.004 * one, 0.5, 0.003, 0.01) for one in range(1, 200)))
    assert len(decode(row_of(found), SQUARE, (1000, 1000), context())) == MOST == 100


def test_an_answer_keeps_what_reaches_the_threshold_of_its_class():
    found = outputs((0, 0.6, 0.3, 0.5, 0.2, 0.2), (1, 0.55, 0.7, 0.5, 0.2, 0.2))
    item = Item(id="a", size=(100, 100))
    (plain,) = answers(found, [item], None, context())
    assert (plain.as_row()["found"], plain.counts) == (2, {"cat": 1, "dog": 1})
    point = DetectPoint(
        thresholds=(0.7, 0.5), rule="f1", pictures=1, objects=1, values=(1, 1), false_alarms=0
    )
    (strict,) = answers(found, [item], point, context())
    row = strict.as_row()
    assert (row["verdict"], row["found"], row["counts"]) == ("dog", 1, {"dog": 1})
    assert row["objects"][0]["box"] == pytest.approx([60, 40, 20, 20], abs=0.02)
    assert strict.monitor == pytest.approx(0.6), "whatever the point"


def test_nothing_found_is_an_answer():
    (none,) = answers(
        outputs((0, 0.2, 0.5, 0.5, 0.1, 0.1)), [Item(id="a", size=(9, 9))], None, context()
    )
    assert (none.verdict, none.as_row()["objects"]) == ("nothing", [])


def test_views_are_merged_to_all_their_queries_turned_back():
    found = outputs((0, 0.9, 0.3, 0.4, 0.2, 0.1))
    turned = {**found, BOX: view_boxes(found[BOX], 5, (100, 100))}
    back = {**turned, BOX: unview_boxes(turned[BOX], 5)}
    merged = merge([found, back])
    assert merged[BOX].shape == (1, 2, 4)
    assert len(decode(row_of(merged), SQUARE, (100, 100)).take(slice(0, 1))) == 1
    assert (decode(row_of(merged), SQUARE, (100, 100)).score_G > 0.5).sum() == 1


def test_the_scores_that_graphs_put_out_do_not_depend_on_the_order_of_queries():
    found = outputs((0, 0.2, 0.3, 0.4, 0.2, 0.1), (1, 0.9, 0.3, 0.4, 0.2, 0.1))
    swapped = {name: value.flip(1) for name, value in found.items()}
    torch.testing.assert_close(derive(found), derive(swapped))
    assert derive(found)[SCORE][0].tolist() == pytest.approx([0.9, 0.2])


def test_found_by_the_best_answers():
    found = outputs((0, 0.9, 0.3, 0.4, 0.2, 0.2), (1, 0.8, 0.7, 0.7, 0.2, 0.2))
    label = torch.tensor([[0, 0, -1]])
    box = torch.tensor([[[0.3, 0.4, 0.2, 0.2], [0.7, 0.7, 0.2, 0.2], [0, 0, 0, 0]]])
    assert best_found(found, label, box) == 0.5, "the second is of another class"


def windows(*found):
    """Two windows of a picture of 100 x 180 pixels that share 20 columns."""
    whole = Merged((100, 180), context())
    whole.add([Box(0, 0, 100, 100), Box(0, 80, 100, 100)], found[0])
    return decode(row_of(whole.finish()), Frame(height=100, width=180), (100, 180), context())


def both(first, second):
    return {name: torch.cat([outputs(first)[name], outputs(second)[name]]) for name in (LOGIT, BOX)}


def test_an_object_in_the_overlap_of_windows_is_one():
    objects = windows(both((0, 0.9, 0.9, 0.5, 0.1, 0.1), (0, 0.8, 0.1, 0.5, 0.1, 0.1)))
    assert (objects.score_G > 0.5).sum() == 1
    np.testing.assert_allclose(objects.box_G4[0], [85, 45, 10, 10], atol=1e-3)


def test_a_part_at_the_side_of_a_window_gives_way_to_the_whole():
    part, whole = (0, 0.9, 0.95, 0.5, 0.1, 0.3), (0, 0.8, 0.2, 0.5, 0.3, 0.3)
    objects = windows(both(part, whole))
    assert (objects.score_G > 0.5).sum() == 1
    np.testing.assert_allclose(objects.box_G4[0], [85, 35, 30, 30], atol=1e-3)


def test_a_part_of_another_class_and_one_at_the_side_of_the_picture_stay():
    part, other = (1, 0.9, 0.95, 0.5, 0.1, 0.3), (0, 0.8, 0.2, 0.5, 0.3, 0.3)
    assert (windows(both(part, other)).score_G > 0.5).sum() == 2
    side, whole = (0, 0.9, 0.05, 0.5, 0.1, 0.3), (0, 0.8, 0.2, 0.5, 0.3, 0.3)
    assert (windows(both(side, whole)).score_G > 0.5).sum() == 2

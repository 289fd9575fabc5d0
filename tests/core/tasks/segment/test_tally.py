"""Counts of pixels, on disk and back, and what is refused."""

import csv
import dataclasses

import numpy as np
import pytest
import torch

from moekit.contract.answers import Item, TaskContext
from moekit.data.geometry import Frame
from moekit.data.mask_table import IGNORED
from moekit.tasks.segment.boundary import band_width, boundary_band, boundary_counts
from moekit.tasks.segment.head import LOGIT
from moekit.tasks.segment.metrics import miou
from moekit.tasks.segment.storage import load_tallies, save_tallies
from moekit.tasks.segment.tally import (
    FALSE,
    MISSED,
    WORST,
    Counts,
    SegmentTallier,
    check_tallies,
)
from moekit.testing import refused


def same(first, second):
    return all(
        np.array_equal(getattr(first, field.name), getattr(second, field.name))
        for field in dataclasses.fields(first)
    )


def test_a_split_is_added_up_for_each_model(tallies):
    kit, baseline = tallies
    assert len(kit) == 12
    assert kit.ids == baseline.ids
    assert kit.confusion_NCC.shape == (12, 3, 3)
    assert (kit.confusion_NCC.sum((1, 2)) == 40 * 56).all()
    assert (baseline.predicted_NC == [40 * 56, 0, 0]).all()
    assert miou(kit.confusion_NCC) > 0.8
    assert miou(baseline.confusion_NCC) < 0.35
    assert kit.subtypes[0] == "first"
    assert kit.subtypes[1] == ""
    assert kit.facts == {"light": ("dim", *[""] * 11)}
    assert kit.groups[0] == kit.groups[1] != kit.groups[2]
    assert (kit.strata_N == 0).all()
    check_tallies(tallies)


def test_pixels_that_do_not_count_are_in_no_pair():
    truth = np.array([[0, 1, IGNORED], [1, 1, IGNORED]])
    answer = np.array([[0, 1, 1], [0, 1, 0]])
    counts = Counts.of(answer, truth, 2)
    assert np.array_equal(counts.confusion_CC, [[1, 0], [1, 2]])
    assert counts.ignored == 2
    assert np.array_equal(counts.predicted_C, [3, 3])


def test_an_answer_at_another_size_is_enlarged_first(example, items, logits):
    frame = Frame(height=32, width=64, fit="letterbox")
    context = TaskContext(classes=example.classes, vocabulary={}, frame=frame)
    tallier = SegmentTallier(context, 1)
    tallier.add(items(example.samples[:1]), [logits([np.ones((40, 56))], frame)])
    (tally,) = tallier.finish()
    assert np.array_equal(tally.predicted_NC, [[0, 40 * 56, 0]])


def test_an_item_without_truth_is_refused(context):
    tallier = SegmentTallier(context, 1)
    with refused("data/no-truth"):
        tallier.add([Item(id="x", size=(4, 4))], [{LOGIT: torch.zeros(1, 3, 2, 2)}])


def test_an_empty_split_has_empty_tallies(context):
    (tally,) = SegmentTallier(context, 1).finish()
    assert len(tally) == 0
    assert tally.confusion_NCC.shape == (0, 3, 3)
    assert np.isnan(miou(tally.confusion_NCC))


def test_rows_are_taken_in_any_order_and_again(tallies):
    rows = np.array([3, 3, 0])
    part = tallies[0].take(rows)
    assert part.ids == tuple(tallies[0].ids[row] for row in rows)
    assert np.array_equal(part.field("confusion_NCC"), tallies[0].confusion_NCC[rows])
    assert np.array_equal(part.image_iou_N, tallies[0].image_iou_N[rows])
    assert part.facts["light"][2] == "dim"
    assert part.field("background") == (0,)
    assert part.field("probability_NC") is None


def test_the_worst_come_first(tallies):
    kit, baseline = tallies
    worst = kit.worst(None)
    values = kit.image_iou_N[worst[WORST]]
    assert (np.diff(values) >= 0).all()
    assert len(values) == 10
    missed = baseline.worst(None)
    assert not len(missed[FALSE])
    front = baseline.confusion_NCC[:, 1:, 0].sum(1)[missed[MISSED]]
    assert (np.diff(front) <= 0).all()
    assert len(front) == 10


def test_found_pictures_have_some_foreground_right_and_the_best_come_first(tallies):
    kit, _ = tallies
    found = kit.right(None)["found"]
    assert set(found) == set(np.flatnonzero(np.nan_to_num(kit.image_iou_N) > 0))
    assert (np.diff(kit.image_iou_N[found]) <= 0).all()


def test_what_is_saved_is_read_again(tallies, tmp_path):
    names = save_tallies(tmp_path, "test", tallies)
    assert sorted(names) == sorted(path.name for path in tmp_path.iterdir() if path.is_file())
    loaded = load_tallies(tmp_path, "test")
    assert len(loaded) == 2
    assert all(same(*pair) for pair in zip(loaded, tallies, strict=True))


def test_the_same_tallies_are_the_same_bytes(tallies, tmp_path):
    for name in ("a", "b"):
        save_tallies(tmp_path / name, "test", tallies)
    for name in ("test.npz", "test.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_the_table_can_be_read_by_people(tallies, tmp_path):
    save_tallies(tmp_path, "test", tallies)
    with (tmp_path / "test.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert list(rows[0])[-5:] == ["iou ground", "iou square", "iou disc", "iou", "baseline_iou"]
    assert rows[0]["subtype"] == "first"
    assert float(rows[2]["iou"]) == tallies[0].image_iou_N[2]
    assert float(rows[2]["baseline_iou"]) == 0


def test_no_file_gives_no_tally(tmp_path):
    assert load_tallies(tmp_path, "test") == ()


@pytest.mark.parametrize("damage", ["cut", "text", "array", "shape"])
def test_a_damaged_file_is_named(tallies, tmp_path, damage):
    save_tallies(tmp_path, "test", tallies)
    path = tmp_path / "test.npz"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-200])
    elif damage == "text":
        path.write_text("nothing")
    else:
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
        if damage == "array":
            del arrays["predicted_NC.1"]
        else:
            arrays["ignored_N.0"] = arrays["ignored_N.0"][:-1]
        np.savez(path, **arrays)
    with refused("data/damaged-run") as caught:
        load_tallies(tmp_path, "test")
    assert caught.value.whose.endswith("test.npz")


def test_impossible_counts_are_refused(tallies):
    kit, baseline = tallies
    negative = kit.confusion_NCC.copy()
    negative[2, 0, 0] -= 10**6
    with refused("data/bad-counts") as caught:
        check_tallies([dataclasses.replace(kit, confusion_NCC=negative)])
    assert caught.value.whose == kit.ids[2]
    with refused("data/bad-counts"):
        check_tallies([dataclasses.replace(kit, ignored_N=kit.ignored_N + 1)])
    with refused("data/bad-counts"):
        check_tallies([kit, baseline.take(np.arange(12)[::-1])])


def reference_band(mask, distance):
    """Cheng et al.'s code (boundary_iou_api), with OpenCV."""
    cv2 = pytest.importorskip("cv2")
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    eroded = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=distance)
    return mask - eroded[1:-1, 1:-1]


@pytest.mark.parametrize("distance", [1, 2, 5])
def test_bands_are_those_of_the_authors_code(distance):
    plane = np.kron(np.random.default_rng(0).integers(0, 4, (6, 8)), np.ones((9, 7), int))
    band = boundary_band(plane, distance)
    for number in range(4):
        mask = (plane == number).astype(np.uint8)
        assert np.array_equal(band & (plane == number), reference_band(mask, distance) > 0)


def test_boundary_counts_are_those_of_each_class_by_itself():
    numbers = np.random.default_rng(1)
    plane = np.kron(numbers.integers(0, 3, (5, 6)), np.ones((12, 12), int))
    answer = np.roll(plane, 2, axis=1)
    found = boundary_counts(answer, plane, 4)
    distance = band_width(plane.shape)
    assert distance == round(0.02 * np.hypot(60, 72))
    for number in range(3):
        ours = reference_band((answer == number).astype(np.uint8), distance) > 0
        theirs = reference_band((plane == number).astype(np.uint8), distance) > 0
        assert found[number].tolist() == [(ours & theirs).sum(), ours.sum(), theirs.sum()]
    assert found[3].tolist() == [0, 0, 0]


def test_what_does_not_count_is_cut_out_of_the_answer_too():
    truth = np.zeros((50, 50), dtype=np.int16)
    truth[:, 20:30] = IGNORED
    answer = np.zeros((50, 50), dtype=np.uint8)
    answer[:, 22:25] = 1
    both, ours, theirs = boundary_counts(answer, truth, 2)[0]
    assert both == ours == theirs > 0
    assert not boundary_counts(answer, truth, 2)[1].any()

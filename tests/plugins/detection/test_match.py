"""Matching and averages give what pycocotools gives, on drawn cases and on real sets."""

import numpy as np
import pytest

from moekit_detection.judging.average import curves_of
from moekit_detection.judging.match import RANGES
from moekit_detection.judging.matches import Matches
from moekit_detection.records import Objects
from tests.plugins.detection.coco_cases import (
    as_coco,
    drawn_pairs,
    figures,
    noisy_answers,
    pycocotools_figures,
)

CASES = {
    "plain": {"ties": False, "crowds": False},
    "crowds and ties": {},
    "many objects": {"images": 3, "most": 60},
    "few pictures": {"images": 2, "most": 3},
    "one class": {"classes": 1},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", range(4))
def test_all_twelve_figures_are_those_of_pycocotools(case, seed):
    pairs = drawn_pairs(seed, **CASES[case])
    classes = CASES[case].get("classes", 4)
    wanted, _ = pycocotools_figures(*as_coco(pairs, classes))
    assert figures(pairs, classes) == pytest.approx(wanted, abs=1e-9, nan_ok=True)


def test_more_than_a_hundred_objects_of_a_class_are_cut_at_a_hundred():
    generator = np.random.default_rng(0)
    true = np.concatenate(
        [generator.uniform(0, 500, (150, 2)), generator.uniform(20, 60, (150, 2))], 1
    )
    pair = Objects.of(true, np.zeros(150), score_G=generator.random(150))
    pairs = [(pair, Objects.of(true, np.zeros(150)))]
    wanted, _ = pycocotools_figures(*as_coco(pairs, 1))
    found = figures(pairs, 1)
    assert found == pytest.approx(wanted, abs=1e-9, nan_ok=True)
    assert found["ar100"] == pytest.approx(100 / 150)


def test_a_picture_that_weighs_three_is_three_pictures():
    pairs = drawn_pairs(5, ties=False)
    weights = np.random.default_rng(0).integers(0, 4, len(pairs))
    repeated = [pair for pair, times in zip(pairs, weights, strict=True) for _ in range(times)]
    wanted, _ = pycocotools_figures(*as_coco(repeated, 4))
    assert figures(pairs, 4, weights) == pytest.approx(wanted, abs=1e-9, nan_ok=True)


def test_pictures_without_anything_found_or_true():
    empty = Objects.of([], [], score_G=[])
    true = Objects.of([(0, 0, 40, 40)], [0])
    found = figures([(empty, Objects.of([], [])), (empty, true)], 2)
    assert found["ap"] == 0
    assert found["ar100"] == 0
    assert all(np.isnan(value) for value in figures([(empty, Objects.of([], []))], 2).values())


def test_curves_are_the_precisions_that_pycocotools_keeps():
    pairs = drawn_pairs(2)
    _, judged = pycocotools_figures(*as_coco(pairs, 4))
    wanted = judged.eval["precision"][0, :, :, 0, -1].T
    found = curves_of(Matches.of(pairs, 4))
    np.testing.assert_allclose(np.nan_to_num(found, nan=-1), wanted, atol=1e-9)


def test_bins_of_sizes_meet_in_no_value():
    low, high = RANGES[4:].T
    assert (low[1:] > high[:-1]).all()
    assert (low[1:] - high[:-1] < 1e-9).all()
    true = Objects.of([(0, 0, 32, 32), (50, 50, 31, 32)], [0, 0])
    matches = Matches.of([(Objects.of([], [], score_G=[]), true)], 1)
    assert matches.counted_GA[:, 4:].sum(1).tolist() == [1, 1]
    assert matches.counted_GA[0, 1:3].tolist() == [True, True]  # COCO's own do


@pytest.mark.parametrize("name", ["coco128", "bccd", "deeppcb"])
def test_noisy_answers_to_real_pictures_have_the_figures_of_pycocotools(shared, name):
    """Boxes of the set, moved, doubled, of other classes and left out, stand for found ones."""
    file = "instance_masks_val.json" if name == "coco128" else "instances_val.json"
    pairs, truth, results = noisy_answers(shared / "data" / name / file, 0, most=40)
    wanted, _ = pycocotools_figures(truth, results)
    found = figures(pairs, len(truth["categories"]))
    assert found == pytest.approx(wanted, abs=1e-9, nan_ok=True)
    assert found["ap50"] > 0.2

"""Figures of classes, their intervals, and the paired test."""

import dataclasses
import json

import numpy as np
import pytest

from moekit.contract.tasks import SummaryJob
from moekit.evaluation.bootstrap import percentile_interval
from moekit.tasks.segment.intervals import compare, complete, facts, resample_weights
from moekit.tasks.segment.metrics import class_iou, miou


def job(tallies, resamples=300):
    return SummaryJob(tallies=tallies, points=(None, None), metrics=(), seed=3, resamples=resamples)


def lone(tally):
    return dataclasses.replace(tally, groups=None)


def test_whole_groups_are_drawn(tallies):
    weights = resample_weights(tallies[0], seed=0, count=50)
    assert weights.shape == (50, 12)
    assert np.array_equal(weights[:, ::2], weights[:, 1::2])
    assert (weights.sum(1) == 12).all()
    assert weights.max() > 1


def test_the_draws_are_those_of_integers_from_the_seed(tallies):
    weights = resample_weights(lone(tallies[0]), seed=5, count=3)
    generator = np.random.default_rng(5)
    for row in weights:
        drawn = generator.integers(0, 12, 12)
        assert np.array_equal(row, np.bincount(drawn, minlength=12))


def test_one_group_does_not_vary(tallies):
    alike = dataclasses.replace(tallies[0], groups=("one",) * 12)
    assert resample_weights(alike, seed=0, count=5) is None
    assert compare(alike, alike) is None
    made = complete({}, job([alike]))
    assert made["per_class"]["disc"]["iou"]["ci95"] is None


def test_each_class_has_its_figures_and_intervals(tallies):
    kit, baseline = (lone(tally) for tally in tallies)
    made = complete({"n": 12}, job([kit, baseline]))
    assert made["n"] == 12
    assert list(made["per_class"]) == ["ground", "square", "disc"]
    disc = made["per_class"]["disc"]
    assert disc["iou"]["value"] == pytest.approx(class_iou(kit.confusion_NCC.sum(0))[2])
    weights = resample_weights(kit, seed=3, count=300)
    again = [
        class_iou(np.repeat(kit.confusion_NCC, row.astype(int), axis=0).sum(0))[2]
        for row in weights
    ]
    assert disc["iou"]["ci95"] == pytest.approx(percentile_interval(np.array(again)))
    assert disc["iou"]["ci95"][0] < disc["iou"]["value"] < disc["iou"]["ci95"][1]
    assert disc["truth_pixels"] == int(kit.confusion_NCC[:, 2].sum())
    assert disc["truth_pictures"] == 12
    assert disc["baseline_iou"]["value"] == 0
    assert disc["iou_difference"]["difference"] == pytest.approx(disc["iou"]["value"])
    assert made["per_class"]["ground"]["background"]
    assert json.dumps(made, allow_nan=False)


def test_without_a_baseline_nothing_is_said_of_it(tallies):
    made = complete({}, job(tallies[:1]))
    assert "baseline_iou" not in made["per_class"]["disc"]


def test_a_class_that_never_occurs_has_no_figure(tallies):
    empty = {
        name: np.pad(getattr(tallies[0], name), widths)
        for name, widths in {
            "confusion_NCC": ((0, 0), (0, 1), (0, 1)),
            "boundary_NC3": ((0, 0), (0, 1), (0, 0)),
            "predicted_NC": ((0, 0), (0, 1)),
        }.items()
    }
    kit = dataclasses.replace(tallies[0], classes=(*tallies[0].classes, "star"), **empty)
    entry = complete({}, job([kit]))["per_class"]["star"]
    assert entry["iou"] == {"value": None, "ci95": None}
    assert facts(kit)["absent_classes"] == ["star"]
    assert facts(kit)["pixels"] == 12 * 40 * 56


def test_a_better_model_is_told_from_a_worse_one(tallies):
    kit, baseline = (lone(tally) for tally in tallies)
    found = compare(kit, baseline)
    assert found["metric"] == "miou"
    assert found["difference"] == pytest.approx(
        miou(kit.confusion_NCC) - miou(baseline.confusion_NCC)
    )
    assert found["ci95"][0] > 0
    assert found["p"] < 0.01
    back = compare(baseline, kit)
    assert back["difference"] == -found["difference"]
    assert back["p"] == found["p"]


def test_a_model_does_not_differ_from_itself(tallies):
    found = compare(tallies[0], tallies[0])
    assert found["difference"] == 0
    low, high = found["ci95"]
    assert low == -high
    assert 0 < high < 1
    assert found["p"] == 1


def test_chance_is_not_called_a_difference(tallies):
    """Two models, each better in half of the pictures."""
    kit, baseline = (lone(tally) for tally in tallies)
    first = np.arange(12)[:, None, None] % 2 == 0
    ours, theirs = kit.confusion_NCC, baseline.confusion_NCC
    found = compare(
        dataclasses.replace(kit, confusion_NCC=np.where(first, ours, theirs)),
        dataclasses.replace(kit, confusion_NCC=np.where(first, theirs, ours)),
    )
    assert found["p"] > 0.2
    assert found["ci95"][0] < 0 < found["ci95"][1]

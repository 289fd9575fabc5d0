"""What int8 may lose, in all and by part."""

import dataclasses

import numpy as np
import pytest

from moekit.testing import refused
from moekit_detection.judging.average import figures_of, mean_of
from moekit_detection.judging.quantised import LEAST, quantised
from moekit_detection.judging.tally import DetectTally
from moekit_detection.records import Objects
from tests.plugins.detection.coco_cases import CONTEXT, samples_of

CLASSES = ("nut", "bolt", "ring")
COUNTS = {"nut": 60, "bolt": 40, "ring": 6}
SIDES = {"nut": 60.0, "bolt": 20.0, "ring": 150.0}
"""Medium, small and large."""


def pairs(lose=lambda name, number: False):
    """Objects of three sizes, found exactly; those that `lose` names are not."""
    made = []
    for number in range(20):
        boxes, labels, found = [], [], []
        for label, name in enumerate(CLASSES):
            for place in range(number, COUNTS[name], 20):
                boxes.append((170.0 * label, 160.0 * (place // 20), SIDES[name], SIDES[name]))
                labels.append(label)
                found.append(not lose(name, place))
        true = Objects.of(boxes, labels)
        seen = true.take(np.array(found, dtype=bool))
        made.append((dataclasses.replace(seen, score_G=np.full(len(seen), 0.9)), true))
    return made


def tally(**options):
    made = pairs(**options)
    return DetectTally.of(samples_of(made), CONTEXT, made)


def test_what_is_lost_stands_in_the_record_by_class_and_by_size():
    fp32, int8 = tally(), tally(lose=lambda name, number: name == "nut" and number < 3)
    told = quantised(fp32, int8, 0.05)
    values = [mean_of(figures_of(one.matches, one.weights_I).ap_AC[0]) for one in (fp32, int8)]
    assert (told["fp32"], told["int8"]) == pytest.approx(values)
    assert told["loss"] == pytest.approx(values[0] - values[1])
    low, high = told["ci95"]
    assert low <= told["loss"] <= high
    assert {name: part["objects"] for name, part in told["parts"].items()} == {
        "the class nut": 60,
        "the class bolt": 40,
        "the class ring": 6,
        "small objects": 40,
        "medium objects": 60,
        "large objects": 6,
    }
    assert told["parts"]["the class nut"]["int8"] < 1
    assert told["parts"]["the class bolt"]["int8"] == 1


def test_nothing_lost_is_a_loss_of_nothing():
    told = quantised(tally(), tally(), None)
    assert (told["loss"], told["limit"]) == (0, 0.01)


@pytest.mark.parametrize(
    ("name", "limit", "says"),
    [("bolt", 0.14, "the class bolt"), ("bolt", 0.02, "of all")],
)
def test_a_class_that_is_lost_is_refused_by_its_name(name, limit, says):
    int8 = tally(lose=lambda kind, number: kind == name and number < 16)
    with refused("error/int8-loss", match=says):
        quantised(tally(), int8, limit)


def test_a_size_that_is_lost_is_refused_though_each_class_keeps_most():
    """A fifth of each class is small, and gone."""

    def mixed(lost):
        made = []
        for number in range(60):
            side = 12.0 if number % 5 == 0 else 60.0
            true = Objects.of([(10, 10, side, side), (200, 10, side, side)], [0, 1])
            seen = true.take(np.array([not (lost and side < 32)] * 2))
            made.append((dataclasses.replace(seen, score_G=np.full(len(seen), 0.9)), true))
        return DetectTally.of(samples_of(made), CONTEXT, made)

    with refused("error/int8-loss", match="small objects"):
        quantised(mixed(lost=False), mixed(lost=True), 0.25)


def test_a_class_of_few_objects_is_told_and_not_refused():
    assert COUNTS["ring"] < LEAST
    int8 = tally(lose=lambda name, number: name == "ring" and number < 2)
    told = quantised(tally(), int8, 0.15)
    part = told["parts"]["the class ring"]
    assert part["fp32"] - part["int8"] > 0.2

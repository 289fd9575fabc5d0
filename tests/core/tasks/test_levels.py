"""What of a point a reader of answers may move, in each task."""

import numpy as np
import pytest

from moekit.plugins.registry import Registry
from moekit.tasks.classify.point import ClassPoint, LabelPoint
from moekit.tasks.classify.spec import CLASSIFY
from moekit.tasks.score.spec import SCORE
from moekit.tasks.score.threshold import OperatingPoint


def test_a_score_has_one_threshold_and_its_review_zone_stays_below():
    level = SCORE.answering.level
    point = OperatingPoint(threshold=0.6, rule="r", split="val", n=9, value=0.0, review=0.4)
    assert level.of(point) == 0.6
    assert (level.moved(point, 0.5).threshold, level.moved(point, 0.5).review) == (0.5, 0.4)
    assert level.moved(point, 0.3).review is None
    assert point.threshold == 0.6, "the run's own point stays"


def test_labels_get_one_threshold_and_single_classes_have_none():
    level = CLASSIFY.answering.level
    point = LabelPoint(thresholds=(0.2, 0.4), rule="f1", n=9, values=(1.0, 1.0))
    assert level.of(point) == pytest.approx(0.3)
    assert level.moved(point, 0.5).thresholds == (0.5, 0.5)
    assert level.of(ClassPoint(refuse_above=0.5)) is None
    assert level.of(None) is None


@pytest.mark.parametrize("name", ["detect", "instances"])
def test_objects_get_one_threshold_for_all_classes(name):
    judging = pytest.importorskip("moekit_detection.judging.points")
    level = Registry().task(name).answering.level
    point = judging.DetectPoint(
        thresholds=(0.2, 0.4),
        rule="f1",
        pictures=1,
        objects=1,
        values=(1.0, None),
        false_alarms=0.0,
    )
    assert level.of(point) == pytest.approx(0.3)
    assert np.all(level.moved(point, 0.7).thresholds_C == 0.7)
    assert level.of(None) is None

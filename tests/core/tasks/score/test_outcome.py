"""What scores come to, in sentences."""

from types import SimpleNamespace

import numpy as np
import pytest

from moekit.contract.answers import TaskContext
from moekit.data.geometry import Frame
from moekit.tasks.score.outcome import outcome
from moekit.tasks.score.predictions import Predictions

CONTEXT = TaskContext(
    classes=("good", "defective"),
    vocabulary={"positive": "defective", "missed": "escape", "false_alarm": "overkill"},
    frame=Frame(height=8, width=8),
)
POINT = SimpleNamespace(threshold=0.5)


def scored(labels, scores):
    ids = tuple(str(place) for place in range(len(labels)))
    return Predictions(ids=ids, labels=np.array(labels), scores=np.array(scores))


def test_what_is_found_and_missed_is_counted_with_the_bound_of_the_share():
    labels = [1] * 50 + [0] * 120
    scores = [0.9] * 41 + [0.1] * 9 + [0.8] + [0.2] * 119
    found, alarms = outcome(scored(labels, scores), POINT, CONTEXT)
    assert found.startswith("41 of 50 defective are found, 9 are missed (escape): 18.0%, at most ")
    # Wilson's interval of 9 of 50 ends at 30.8%, that of 1 of 120 at 4.6%.
    assert "30.8%" in found
    assert alarms == (
        "1 of 120 good are false alarms (overkill): 0.8%, at most 4.6% in the long run."
    )


def test_a_score_at_the_threshold_is_called_positive():
    (found,) = outcome(scored([1, 1], [0.5, 0.49]), POINT, CONTEXT)
    assert found.startswith("1 of 2 defective are found, 1 are missed")


@pytest.mark.parametrize("label", [0, 1])
def test_a_class_that_is_not_there_has_no_sentence(label):
    assert len(outcome(scored([label], [0.7]), POINT, CONTEXT)) == 1

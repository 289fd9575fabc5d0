"""The section on calibration says what the scores say."""

import dataclasses

import numpy as np
import pytest

from moekit import ReportContext
from moekit.tasks.score.predictions import Predictions
from moekit_medical.report.calibration import render_calibration


@pytest.fixture
def context():
    scores = np.repeat([0.05, 0.85], 100)
    labels = np.concatenate([np.arange(100) < 5, np.arange(100) < 60]).astype(np.int64)
    ids = tuple(str(number) for number in range(200))
    return ReportContext(
        result={},
        record={},
        predictions=Predictions(ids=ids, labels=labels, scores=scores),
        validation=None,
    )


def test_each_bin_has_its_mean_score_and_observed_share(context):
    section = render_calibration(context)
    (table,) = section.tables
    assert [row[:4] for row in table.rows] == [
        ("0.00 to 0.10", "100", "0.050", "0.050"),
        ("0.80 to 0.90", "100", "0.850", "0.600"),
    ]
    # Half of the scores are 0.25 too high, the others are right.
    assert "error 0.1250" in section.paragraphs[0]


def test_without_scores_it_says_so(context):
    section = render_calibration(dataclasses.replace(context, predictions=None))
    assert "not in this run" in section.paragraphs[0]

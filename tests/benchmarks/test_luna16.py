"""The medical kit on LUNA16 candidates, five seeds, next to the same head on the frozen backbone.

The split is that of the data (scan-disjoint blocks); a seed decides initial weights, order, views.
"""

import statistics

import pytest

from moekit_medical.metrics.classification import sensitivity_at_95_specificity
from tests.benchmarks.score_runs import TENTH, compared, keep_all, made
from tests.benchmarks.task_runs import gain

pytestmark = pytest.mark.bench

COMMAND = "python -m pytest -m bench -s tests/benchmarks/test_luna16.py -k "


@pytest.fixture(scope="module")
def data(shared):
    return f"candidates={shared / 'data' / 'luna16_candidates'}"


def test_all_labels(data, runs, record, record_figure):
    pairs, facts = made(runs, "luna16", "medical", data)
    figures = {
        "split": "block_split, scan-disjoint",
        **compared(pairs, facts),
        "sensitivity_gain": gain(pairs, sensitivity),
        "mean": {
            part: {
                name: statistics.mean(one[part][name]["value"] for one in facts)
                for name in facts[0][part]
            }
            for part in ("metrics", "baseline")
        },
    }
    record("luna16", figures)
    keep_all(
        record_figure,
        {
            "luna16.lowest_bound": (figures["lowest_bound"], None),
            "luna16.sensitivity_gain": figures["sensitivity_gain"],
        },
        command=f"{COMMAND}all_labels",
    )
    assert figures["auroc"][0] >= 0.982
    assert figures["lowest_bound"] >= 0.972
    assert figures["sensitivity_gain"][0] > 0
    assert figures["mean"]["metrics"]["ece"] <= 0.04


def test_a_tenth_of_the_labels(data, runs, record, record_figure):
    pairs, facts = made(runs, "luna16-tenth", "medical", data, labels=TENTH)
    figures = compared(pairs, facts)
    record("luna16_tenth", figures)
    keep_all(record_figure, {"luna16.gain_10pct": figures["gain"]}, command=f"{COMMAND}tenth")
    assert figures["gain"][0] >= 0.02


def sensitivity(tally, rows):
    """At 95% specificity."""
    return sensitivity_at_95_specificity(tally.scores[rows], tally.labels[rows])

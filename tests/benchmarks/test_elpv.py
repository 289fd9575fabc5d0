"""The industrial kit on ELPV, five seeds, next to the same head on the frozen backbone.

Each seed deals 60/15/25 again, so test splits share cells; `task_runs.pooled_p` draws such a cell
for all seeds at once. A cell on which the annotators are at odds has the probability 1/3 or 2/3.
"""

import numpy as np
import pytest

from moekit import Registry
from tests.benchmarks.conftest import measured_before
from tests.benchmarks.score_runs import FIVE, TENTH, area, compared, keep_all, made
from tests.benchmarks.task_runs import cost, gain, mean_of

pytestmark = pytest.mark.bench

COMMAND = "python -m pytest -m bench -s tests/benchmarks/test_elpv.py -k "
VIEWS = {"views": 8, "epochs": 12, "baseline_epochs": 20, "patience": 6}
SCORED = {**VIEWS, "scoring_views": 4}
MEMBERS = {**SCORED, "head_members": 4}
ATTEMPTS = {
    "as it is": ((), {}),
    "views": ((), VIEWS),
    "scored in views": ((), SCORED),
    "members": ((), MEMBERS),
    "earlier blocks": (("earlier",), MEMBERS),
    "faster specialists": ((), {**MEMBERS, "specialist_rate": 1e-3}),
    "soft targets": ((), {**MEMBERS, "soft_targets": True}),
    "dropout and decay": ((), {**MEMBERS, "weight_decay": 0.3}),
}
"""Recipes that are compared by validation data: changes of the kit, changes of its recipe."""


def test_all_labels(runs, record, record_figure):
    pairs, facts = made(runs, "elpv", "industrial", "elpv")
    thresholds = {
        id(kit): one["threshold"]["value"] for (kit, _), one in zip(pairs, facts, strict=True)
    }

    def accuracy(tally, rows):
        right = (tally.scores >= thresholds[id(tally)]) == (tally.labels == 1)
        return right[rows].mean()

    kits = [kit for kit, _ in pairs]
    figures = {
        "split": "60/15/25 by seed, stratified",
        **compared(pairs, facts),
        "accuracy": mean_of(kits, accuracy),
        **_of_doubtful_cells(kits),
    }
    record("elpv", figures)
    keep_all(
        record_figure,
        {
            "elpv.auroc": figures["auroc"],
            "elpv.accuracy": figures["accuracy"],
            "elpv.pooled_p": (figures["pooled_p"], None),
        },
        command=f"{COMMAND}all_labels",
    )
    assert figures["auroc"][0] >= 0.950
    assert figures["accuracy"][0] >= 0.900
    assert figures["pooled_p"] < 0.05


def test_a_tenth_of_the_labels(runs, record, record_figure):
    pairs, facts = made(runs, "elpv-tenth", "industrial", "elpv", labels=TENTH)
    figures = compared(pairs, facts)
    record("elpv_tenth", figures)
    keep_all(record_figure, {"elpv.gain_10pct": figures["gain"]}, command=f"{COMMAND}tenth")
    assert figures["gain"][0] >= 0.02


@pytest.mark.parametrize("name", ATTEMPTS)
def test_attempts_on_validation_data(name, runs, record):
    changes, recipe = ATTEMPTS[name]
    called = f"elpv-{name.replace(' ', '-')}"
    pairs, facts = made(runs, called, "industrial", "elpv", split="val", changes=changes, **recipe)
    known = measured_before("elpv_attempts")
    row = {
        "auroc": mean_of([kit for kit, _ in pairs], area),
        "auroc_frozen": mean_of([frozen for _, frozen in pairs], area),
        "gain": gain(pairs, area),
        "gain_by_seed": [gain([pair], area) for pair in pairs],
        "accuracy": [one["metrics"]["accuracy"]["value"] for one in facts],
        "cost": cost(facts),
        "seeds": FIVE,
    }
    record("elpv_attempts", {"attempts": {**known.get("attempts", {}), name: row}})
    assert row["auroc"][0] > 0.9


def _of_doubtful_cells(tallies):
    """AUROC on cells of which all annotators say the same, and who is in the pairs out of order."""
    target = {
        sample.id: sample.target for sample in Registry().load_dataset("elpv", seed=0).samples
    }
    sure = {name for name, value in target.items() if value in (0.0, 1.0)}

    def on_sure(tally, rows):
        kept = [row for row in rows if tally.ids[row] in sure]
        return area(tally, np.array(kept, dtype=np.int64))

    shares = []
    for tally in tallies:
        doubtful = np.array([name not in sure for name in tally.ids])
        positive, negative = np.flatnonzero(tally.labels == 1), np.flatnonzero(tally.labels == 0)
        wrong = tally.scores[positive][:, None] <= tally.scores[negative][None, :]
        one_of_two = doubtful[positive][:, None] | doubtful[negative][None, :]
        shares.append((wrong & one_of_two).sum() / wrong.sum())
    return {
        "auroc_of_sure_cells": mean_of(tallies, on_sure),
        "share_of_errors_with_a_doubtful_cell": float(np.mean(shares)),
        "seeds": FIVE,
    }

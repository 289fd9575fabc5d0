"""Kits that score, next to the same head on the frozen backbone: five seeds, all labels or a tenth.

Runs are made as `task_runs` says, so `MOEKIT_SEEDS` and `MOEKIT_BENCH_RUNS` hold here too. A tenth
of the labels means a tenth of both train and val, of each class; the test split stays whole.
"""

from __future__ import annotations

import os

from moekit.tasks.score.metrics import auroc
from tests.benchmarks.task_runs import cost, gain, keep, mean_of, pooled_p, runs_of

ALL_FIVE = tuple(range(5))
FIVE = tuple(int(seed) for seed in os.environ.get("MOEKIT_SEEDS", "0,1,2,3,4").split(","))
TENTH = 0.1


def made(runs, name, kit, data, *, split="test", **how):
    """Of each of five seeds the two tallies of a split, and the facts of the run."""
    return runs_of(runs, name, kit, data, seeds=FIVE, split=split, **how)


def area(tally, rows):
    """AUROC."""
    return auroc(tally.scores[rows], tally.labels[rows])


def compared(pairs, facts):
    """What five seeds say of a kit and its baseline, ready for JSON."""
    kits, frozen = [kit for kit, _ in pairs], [other for _, other in pairs]
    return {
        "auroc": mean_of(kits, area),
        "auroc_frozen": mean_of(frozen, area),
        "gain": gain(pairs, area),
        "pooled_p": pooled_p(pairs, area),
        "gain_by_seed": [gain([pair], area) for pair in pairs],
        "delong_p": [one["comparison"]["delong_p"] for one in facts],
        "lowest_bound": min(one["metrics"]["auroc"]["ci95"][0] for one in facts),
        "cost": cost(facts),
        "seeds": FIVE,
        "runs": facts,
    }


def keep_all(record_figure, figures, *, command):
    """Records figures by key, if all five seeds ran in full."""
    for key, figure in figures.items():
        keep(record_figure, key, figure, command=command, seeds=FIVE, wanted=ALL_FIVE)

"""When does a specialist beat the frozen backbone, full fine-tuning and LoRA of its size?

Over the share of labels, two sets, and where specialists sit: the kit's own blocks, the last three,
the side stream. All methods see the same pictures for as many steps. Pictures have 112 pixels and
at most 400 are judged, which two slow cores do in hours: the figures compare methods, and are not
what the kits reach. LoRA has as many parameters as the kit's specialists, by `peft`. Next to them
stands a small network for each kit, EfficientNet-Lite0, trained as a whole.

| variable | what it does |
| --- | --- |
| `MOEKIT_SEEDS=0` | these seeds only |
| `MOEKIT_BENCH_RUNS=FOLDER` | scores are kept there, and cells that are there are not made again |
"""

import json
import os
import subprocess

import numpy as np
import pytest

from moekit.tasks.score import auroc
from moekit.tasks.score.predictions import Predictions
from moekit.testing.child import child_command, child_environment
from tests.benchmarks import study_cell
from tests.benchmarks.conftest import measured_before
from tests.benchmarks.lite0 import need_lite0
from tests.benchmarks.task_runs import _ROOT, SEEDS, TINY, gain, mean_of

pytestmark = pytest.mark.bench


@pytest.mark.parametrize("share", study_cell.STEPS)
@pytest.mark.parametrize("name", study_cell.SETS)
def test_where_a_specialist_wins(name, share, shared, runs, record):
    pytest.importorskip("peft", reason="pip install peft")
    need_lite0()
    tallies, facts = {}, {}
    for seed in SEEDS:
        folder = runs / f"study-{name}-{share:g}-{seed}"
        made(name, share, seed, folder, study_cell.source_of(name, shared))
        for method in study_cell.METHODS:
            tallies.setdefault(method, []).append(read(folder / f"{method}.npz"))
            facts.setdefault(method, []).append(json.loads((folder / f"{method}.json").read_text()))
    frozen = tallies[study_cell.FROZEN]
    row = {
        method: {
            "auroc": mean_of(of_seeds, area),
            "less_frozen": gain(list(zip(of_seeds, frozen, strict=True)), area),
            "parameters": facts[method][0]["parameters"],
            "processor_s": np.mean([one["processor_s"] for one in facts[method]]),
        }
        for method, of_seeds in tallies.items()
    }
    known = measured_before("study")
    cells = {**known.get("cells", {}), f"{name}, {share:g}": {"seeds": SEEDS, "methods": row}}
    record("study", {"side": study_cell.SIDE, "judged": study_cell.TEST, "cells": cells})
    assert TINY or row[study_cell.OWN]["auroc"][0] > 0.5


def made(name, share, seed, folder, source):
    """Makes what is missing of a cell, in a process of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    known = child_environment(MOEKIT_CACHE_DIR=str(folder.parent / "cache"))
    arguments = (name, f"{share:g}", str(seed), str(folder), source)
    subprocess.run(
        child_command("-m", "tests.benchmarks.study_cell", *arguments),
        env={**known, "PYTHONPATH": os.pathsep.join([str(_ROOT), known["PYTHONPATH"]])},
        check=True,
    )


def read(path):
    """The tally of a method."""
    with np.load(path) as kept:
        return Predictions(
            ids=tuple(kept["ids"].tolist()), scores=kept["scores"], labels=kept["labels"]
        )


def area(tally, rows):
    """AUROC."""
    return auroc(tally.scores[rows], tally.labels[rows])

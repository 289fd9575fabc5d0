"""The industrial kit on ELPV, five seeds, next to the same head on the frozen backbone."""

import statistics

import pytest

from moekit.cli.adapt import run_adaptation
from moekit.cli.evaluate import run_evaluation
from moekit.cli.output import ProgressDisplay

pytestmark = pytest.mark.bench
SEEDS = range(5)


def test_the_specialist_reaches_its_figures_on_five_seeds(tmp_path, record):
    runs = [_one_seed(tmp_path / str(seed), seed) for seed in SEEDS]
    means = {
        name: {
            part: statistics.mean(run[part][name] for run in runs)
            for part in ("specialist", "baseline")
        }
        for name in runs[0]["specialist"]
    }
    record("elpv", {"split": "60/15/25 by seed, stratified", "runs": runs, "mean": means})
    assert means["auroc"]["specialist"] >= 0.950
    assert means["accuracy"]["specialist"] >= 0.900
    assert means["auroc"]["specialist"] > means["auroc"]["baseline"]


def _one_seed(folder, seed):
    progress = ProgressDisplay(None)
    record = run_adaptation(
        "industrial", data="elpv", run_folder=folder, progress=progress, seed=seed
    )
    result = run_evaluation("industrial", data="elpv", run_folder=folder, progress=progress)
    return {
        "seed": seed,
        "n": result["n"],
        "specialist": {name: entry["value"] for name, entry in result["metrics"].items()},
        "baseline": {name: entry["value"] for name, entry in result["baseline"]["metrics"].items()},
        "auroc_ci95": result["metrics"]["auroc"]["ci95"],
        "comparison": result["comparison"],
        "parameters": record["parameters"],
        "training": record["training"],
    }

"""The medical kit on LUNA16 candidates, five seeds, next to the same head on the frozen backbone.

The split is that of the data (scan-disjoint blocks); a seed decides initial weights, order, views.
"""

import statistics

import pytest

from moekit.cli.adapt import run_adaptation
from moekit.cli.evaluate import run_evaluation
from moekit.cli.output import ProgressDisplay

pytestmark = pytest.mark.bench
SEEDS = range(5)


def test_the_lesion_expert_reaches_its_figures_on_five_seeds(shared, tmp_path, record):
    data = f"candidates={shared / 'data' / 'luna16_candidates'}"
    runs = [_one_seed(data, tmp_path / str(seed), seed) for seed in SEEDS]
    means = {
        name: {
            part: statistics.mean(run[part][name]["value"] for run in runs)
            for part in ("specialist", "baseline")
        }
        for name in runs[0]["specialist"]
    }
    lowest = min(run["specialist"]["auroc"]["ci95"][0] for run in runs)
    record(
        "luna16",
        {"split": "block_split, scan-disjoint", "runs": runs, "mean": means, "lowest": lowest},
    )
    assert means["auroc"]["specialist"] >= 0.982
    assert lowest >= 0.972
    assert means["sensitivity_at_95_specificity"]["specialist"] >= 0.86
    assert means["ece"]["specialist"] <= 0.04
    assert means["auroc"]["specialist"] > means["auroc"]["baseline"]


def _one_seed(data, folder, seed):
    progress = ProgressDisplay(None)
    record = run_adaptation("medical", data=data, run_folder=folder, progress=progress, seed=seed)
    result = run_evaluation(
        "medical",
        data=data,
        run_folder=folder,
        progress=progress,
        threshold_rule="max-false-alarm=0.05",
    )
    return {
        "seed": seed,
        "n": result["n"],
        "specialist": result["metrics"],
        "baseline": result["baseline"]["metrics"],
        "comparison": result["comparison"],
        "parameters": record["parameters"],
        "training": record["training"],
    }

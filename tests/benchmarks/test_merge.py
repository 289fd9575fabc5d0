"""Two sites' runs merged without their data, next to each of them and to training on all.

Site A has many cells of which few are defective, site B few of which half are. Both train from one
start; they send weights only. The merged runs are accepted on a third party's validation cells and
judged, as all others are, on its test cells. The set is dealt again for each seed.
"""

import csv
import random
import shutil
from importlib.resources import files
from pathlib import Path

import pytest
from sklearn.metrics import roc_auc_score

from moekit import Registry
from moekit.jobs.adapt import adapt_kit
from moekit.jobs.evaluate import evaluate_run
from moekit.jobs.merge import merge_runs
from tests.benchmarks.task_runs import SEEDS, TINY, gain, keep, mean_of

pytestmark = pytest.mark.bench

COMMAND = "python -m pytest -m bench -s tests/benchmarks/test_merge.py"
COUNTS = {
    # good and defective cells of each split
    "a": {"train": (200, 50), "val": (40, 12)},
    "b": {"train": (50, 50), "val": (12, 12)},
    "held": {"train": (2, 2), "val": (120, 60), "test": (200, 120)},
}
RECIPE = {
    "image_size": 98,
    "views": 1,
    "epochs": 8,
    "baseline_epochs": 12,
    "near_duplicate_pairs": 0,
}
if TINY:
    COUNTS = {
        site: {split: tuple(max(2, one // 8) for one in pair) for split, pair in splits.items()}
        for site, splits in COUNTS.items()
    }
    RECIPE = {"image_size": 56, "views": 1, "epochs": 1, "baseline_epochs": 1}


def dealt(home, seed):
    """Tables of each site, of all of them together, and of the third party; no cell is in two."""
    source = Path(str(files("elpv_dataset"))) / "data"
    known = {"0.0": [], "1.0": []}
    for line in (source / "labels.csv").read_text().splitlines():
        picture, probability, _ = line.split()
        if probability in known:
            known[probability].append(picture)
    own = random.Random(seed)
    for pictures in known.values():
        own.shuffle(pictures)
    rows = {"all": []}
    (home / "images").mkdir(parents=True)
    for site, splits in COUNTS.items():
        rows[site] = []
        for split, pair in splits.items():
            for label, count, pictures in zip(
                ("good", "defective"), pair, known.values(), strict=True
            ):
                for picture in pictures[:count]:
                    shutil.copy(source / picture, home / "images")
                    rows[site].append((f"images/{Path(picture).name}", label, split))
                del pictures[:count]
        if site != "held":
            rows["all"] += rows[site]
    for name, table in rows.items():
        with (home / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("path", "label", "split"), *table])
    return {name: f"folder={home / name}.csv" for name in rows}


def auroc(tally, rows):
    labels = tally.labels[rows]
    if len(set(labels.tolist())) < 2:
        return float("nan")
    return float(roc_auc_score(labels, tally.scores[rows]))


def one_seed(home, seed):
    """The test tallies of all runs, and how the merged ones were judged."""
    data, quiet = dealt(home / "data", seed), {"on_progress": lambda *_: None}
    for name in ("a", "b", "all"):
        adapt_kit(
            "industrial",
            data=data[name],
            run_folder=home / name,
            recipe=RECIPE,
            on_epoch=lambda *_: None,
            **quiet,
        )
    judged = {
        by: merge_runs(
            [home / "a", home / "b"], data=data["held"], out=home / by, by=by, anyway=True, **quiet
        )
        for by in ("average", "route")
    }
    judge = Registry().task("moekit/score").judge
    tallies = {}
    for name in ("a", "b", "all", "average", "route"):
        evaluate_run("industrial", data=data["held"], run_folder=home / name, **quiet)
        tallies[name] = judge.load(home / name, "predictions")[0]
    return tallies, judged


def test_merged_runs_are_not_worse_than_the_best_site(tmp_path, record, record_figure, monkeypatch):
    monkeypatch.setenv("MOEKIT_CACHE_DIR", str(tmp_path / "cache"))
    made = [one_seed(tmp_path / str(seed), seed) for seed in SEEDS]
    tallies = [one for one, _ in made]
    means = {name: mean_of([one[name] for one in tallies], auroc) for name in tallies[0]}
    best = max(("a", "b"), key=lambda name: means[name][0])
    figures = {}
    for by in ("average", "route"):
        for other in ("a", "b", "all"):
            pairs = [(one[by], one[other]) for one in tallies]
            figures[f"{by}_less_{other}"] = gain(pairs, auroc)
    sites = made[0][1]["average"]["sites"]
    record(
        "merge",
        {
            "counts": COUNTS,
            "recipe": RECIPE,
            "seeds": SEEDS,
            "auroc": means,
            "differences": figures,
            "best_site": best,
            "accepted": [{by: one[by]["accepted"] for by in one} for _, one in made],
            "in_words": [{by: one[by]["in_words"] for by in one} for _, one in made],
            "sent": [{key: one[key] for key in ("bytes", "share_of_backbone")} for one in sites],
        },
    )
    for by in ("average", "route"):
        keep(record_figure, f"merge.elpv.{by}", means[by], command=COMMAND)
        over = figures[f"{by}_less_{best}"]
        keep(record_figure, f"merge.elpv.{by}_over_best_site", over, command=COMMAND)
        left = figures[f"{by}_less_all"]
        keep(record_figure, f"merge.elpv.{by}_less_trained_on_all", left, command=COMMAND)
    if not TINY:
        assert all(one["average"]["accepted"] for _, one in made)

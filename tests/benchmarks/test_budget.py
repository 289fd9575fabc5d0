"""Kits at `--budget auto` next to the same kits that compute all tokens: speed and what is lost.

Both are trained with the same seed. The setting is chosen on validation data only; the figures are
of the test split. Speed is of the trained kits at batches of 8, in turn in one process on one
thread, so in processor time. `MOEKIT_SEEDS` and `MOEKIT_BENCH_RUNS` are as in `task_runs`.

LUNA16's crops are answered at 112 px, as the kit is made for them. With `MOEKIT_SHORT=1` kits are
trained by their demo recipe (ELPV at 140 px): minutes in place of an hour, and said in the figures.
"""

import os
import statistics

import numpy as np
import pytest
import torch

from moekit import Registry, build_backbone
from moekit.bench.timing import compare, threads
from moekit.cli.adapt import run_adaptation
from moekit.cli.evaluate import run_evaluation
from moekit.cli.output import ProgressDisplay
from moekit.runs.run import Run
from moekit.runtime.load import load_answerer
from tests.benchmarks.task_runs import SEEDS, TINY, gain

pytestmark = pytest.mark.bench
COMMAND = "python -m pytest -m bench -s tests/benchmarks/test_budget.py"
BATCH, SECONDS = 8, 60.0
FASTER, LOST = 1.8, 0.003
KITS = {"elpv": ("industrial", "elpv"), "luna16": ("medical", "candidates={shared}")}
DENSE, AUTO = "dense", "auto"
_TINY = {"epochs": 1, "baseline_epochs": 1, "views": 1, "image_size": 112}
SHORT = bool(os.environ.get("MOEKIT_SHORT"))


@pytest.mark.parametrize("name", sorted(KITS))
def test_a_kit_within_a_budget_is_as_good_and_faster(name, shared, runs, record, record_figure):
    kit, source = KITS[name]
    data = source.format(shared=shared / "data" / "luna16_candidates")
    made = [
        {mode: made_run(runs, name, kit, data, mode, seed) for mode in (DENSE, AUTO)}
        for seed in SEEDS
    ]
    judge = Registry().task("score").judge
    pairs = [
        tuple(judge.load(one[mode], "predictions")[0] for mode in (DENSE, AUTO)) for one in made
    ]
    lost, interval = gain(pairs, auroc, by_group=True)
    speeds = [speed(kit, one) for one in made]
    ratio = statistics.mean(1 / one.ratio for one in speeds)
    about = {
        "command": f"{COMMAND} -k {name}",
        "seeds": SEEDS,
        "arithmetic": [budget_of(one[AUTO])["arithmetic"] for one in made],
        "asked": AUTO,
        "side": Run(made[0][AUTO]).frame().height,
        "recipe": "demo" if SHORT else "kit",
        "precision": "fp32",
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "load_average": os.getloadavg()[0],
    }
    quartiles = [[1 / one.ratio_q75, 1 / one.ratio_q25] for one in speeds]
    record(
        f"budget_{name}",
        {
            **about,
            "auroc": [[auroc(tally, np.arange(len(tally))) for tally in pair] for pair in pairs],
            "lost": lost,
            "lost_ci95": interval,
            "times_as_fast": [1 / one.ratio for one in speeds],
            "quartiles": quartiles,
            "choices": [budget_of(one[AUTO]) for one in made],
            "adapt_seconds": [
                {mode: Run(folder).read()["training"] for mode, folder in one.items()}
                for one in made
            ],
        },
    )
    record_figure(f"{name}.budget_loss", round(lost, 4), ci95=interval, **about)
    record_figure(
        f"{name}.budget_speed",
        round(ratio, 3),
        quartiles=quartiles,
        batch=BATCH,
        threads=1,
        **about,
    )
    assert TINY or lost <= LOST
    assert TINY or ratio >= FASTER


def made_run(runs, name, kit, data, mode, seed):
    """The folder of a run that is trained and judged; one that is there is not made again."""
    folder = runs / f"budget-{name}-{mode}-{seed}"
    progress = ProgressDisplay(None)
    recipe = _TINY if TINY else dict(Registry().kit(kit).demo_recipe) if SHORT else {}
    run_adaptation(
        kit,
        data=data,
        run_folder=folder,
        progress=progress,
        seed=seed,
        budget=AUTO if mode == AUTO else 1.0,
        resume=(folder / "run.json").exists(),
        recipe={**recipe, "precision": "fp32"},
    )
    if not (folder / "result.json").exists():
        run_evaluation(kit, data=data, run_folder=folder, progress=progress)
    return folder


def budget_of(folder):
    """What the run records of its choice."""
    return Run(folder).read()["request"]["budget"]


@torch.inference_mode()
def speed(kit, folders):
    """The time of a trained kit within the budget, next to that of the dense one."""
    backbone, registry = build_backbone(), Registry()
    calls = {}
    for mode, folder in folders.items():
        run = Run(folder)
        predictor, _ = load_answerer(
            run,
            registry.kit(kit),
            backbone=backbone,
            registry=registry,
            precision="fp32",
            use="specialist",
        )
        frame = run.frame()
        images = torch.randn(
            2, BATCH, 3, frame.height, frame.width, generator=torch.Generator().manual_seed(0)
        )
        calls[mode] = lambda number, model=predictor, images=images: model(images[number % 2])
    with threads(1):
        return compare(calls, baseline=DENSE, seconds=1.0 if TINY else SECONDS)[AUTO]


def auroc(tally, rows):
    """By ranks, ties as halves."""
    found = tally.predictions
    labels, scores = found.labels[rows], found.scores[rows]
    if len(np.unique(labels)) < 2:
        return float("nan")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    positives = labels.sum()
    total = ranks[labels == 1].sum() - positives * (positives + 1) / 2
    return float(total / (positives * (len(labels) - positives)))

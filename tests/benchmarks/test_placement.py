"""What it costs in quality to let kits share more of a pass: late specialists, and a side stream.

A kit's own blocks with specialists next to the last three, the last two, the side stream at the
kit's own blocks, and the same head on the frozen backbone. All see the same pictures in the same
order, and one pass answers the test pictures by all of them.

The sizes are those that a busy machine of two slow cores does in an hour: pictures of 84 pixels, a
few hundred of them, four epochs. So the figures are differences between placements, not what the
kits reach, and their intervals are wide. Seeds decide the pictures that are learned from, the
weights and the order.

| variable | what it does |
| --- | --- |
| `MOEKIT_SEEDS=0` | these seeds only |
| `MOEKIT_BENCH_RUNS=FOLDER` | runs are kept there, and finished ones are not made again |
"""

import dataclasses
import os

import numpy as np
import pytest

from moekit import Registry
from moekit.bench.kits import placed
from moekit.jobs.session import load_licensed, open_backbone
from moekit.plugins.resolve import prepared, resolve
from moekit.runs import Run
from moekit.tasks.score import auroc
from tests.benchmarks.placements import FROZEN, answered, trained
from tests.benchmarks.task_runs import SEEDS, TINY, gain, mean_of

pytestmark = pytest.mark.bench
COMMAND = "python -m pytest -m bench -s tests/benchmarks/test_placement.py -k "
SIDE = 84
SIZES = {
    "elpv": {"train": 256, "val": 128, "test": 512},
    "luna16": {"train": 160, "val": 96, "test": 400},
}
CHANGES = {
    "image_size": SIDE,
    "precision": "fp32",
    "views": 1,
    "scoring_views": 1,
    "epochs": 1 if TINY else 4,
    "baseline_epochs": 1 if TINY else 10,
    "batch_size": 16,
    "average": 0.95,
    "near_duplicate_pairs": 0,
}
SETS = {"elpv": "industrial", "luna16": "medical"}
OWN = "own"


@pytest.mark.parametrize("name", sorted(SETS))
def test_what_a_placement_costs(name, request, runs, record, record_figure):
    source = "elpv"
    if name == "luna16":
        source = f"candidates={request.getfixturevalue('shared') / 'data' / 'luna16_candidates'}"
    tallies, seconds, blocks = {}, {}, {}
    for seed in SEEDS:
        found, took, own = _one_seed(name, source, seed, runs)
        for placement, tally in found.items():
            tallies.setdefault(placement, []).append(tally)
        seconds[seed], blocks = took, own
    figures = {
        placement: {
            "auroc": mean_of(of_seeds, _auroc, by_group=True),
            "less_own": gain(list(zip(of_seeds, tallies[OWN], strict=True)), _auroc, by_group=True),
            "less_frozen": gain(
                list(zip(of_seeds, tallies[FROZEN], strict=True)), _auroc, by_group=True
            ),
            "own_blocks": blocks[placement],
        }
        for placement, of_seeds in tallies.items()
    }
    about = {
        "seeds": SEEDS,
        "sizes": SIZES[name],
        "recipe": CHANGES,
        "load_average": os.getloadavg()[0],
    }
    record(f"placement_{name}", {**about, "placements": figures, "training_seconds": seconds})
    for placement in ("last3", "last2", "side"):
        value, interval = figures[placement]["less_own"]
        record_figure(
            f"placement.{name}.{placement}",
            value,
            ci95=interval,
            seeds=SEEDS,
            command=f"{COMMAND}{name}",
            sizes=SIZES[name],
            side=SIDE,
        )
    assert {one["own_blocks"] for one in (figures["side"], figures[FROZEN])} == {0}
    assert TINY or figures["side"]["auroc"][0] > 0.5


def _one_seed(name, source, seed, runs):
    """The test tallies by placement, the seconds of training, and the blocks of one's own."""
    registry, backbone = Registry(), open_backbone(device="cpu", weights="auto")
    kit = registry.kit(SETS[name])
    dataset = prepared(kit, load_licensed(registry, source, seed=seed, licence=None), seed=seed)
    dataset = dataclasses.replace(dataset, samples=_few(dataset, seed, SIZES[name]))
    depth, recipe = len(backbone.blocks), kit.recipe.changed(CHANGES)
    specs = {
        OWN: kit,
        "last3": placed(kit, depth=depth, own=3),
        "last2": placed(kit, depth=depth, own=2),
        "side": dataclasses.replace(kit, placement="side"),
    }
    predictors, seconds = {}, {}
    for placement, spec in specs.items():
        run = Run(runs / f"placement-{name}-{placement}-{seed}")
        made, found = trained(
            placement,
            spec,
            run,
            backbone=backbone,
            registry=registry,
            with_frozen=placement == OWN,
            dataset=dataset,
            seed=seed,
            recipe=recipe,
        )
        seconds[placement] = {part: one["seconds"] for part, one in made["training"].items()}
        predictors |= found
    tallies = answered(predictors, dataset, resolve(kit, registry), backbone, side=SIDE)
    return tallies, seconds, {name: one.kit.own_blocks for name, one in predictors.items()}


def _few(dataset, seed, sizes):
    """Samples of each split, with the share of positives that it has."""
    generator, chosen = np.random.default_rng(seed), []
    for split, whole in sizes.items():
        samples, count = dataset.split(split), 24 if TINY else whole
        labels = np.array([sample.label for sample in samples])
        rows = []
        for label in (0, 1):
            of_label = generator.permutation(np.flatnonzero(labels == label))
            rows.extend(of_label[: max(2, round(count * len(of_label) / len(samples)))])
        chosen.extend(samples[row] for row in sorted(rows))
    return tuple(chosen)


def _auroc(tally, rows):
    return auroc(tally.scores[rows], tally.labels[rows])

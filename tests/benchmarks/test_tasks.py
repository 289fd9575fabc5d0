"""Classes and outlines on real data: the kit next to the same head on the frozen backbone.

Three seeds each. A gain is in points, with the interval of a paired bootstrap over images: on each
resample the gains of the seeds are averaged. `MOEKIT_SEEDS=0` runs one seed only, and records no
figure.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import time

import numpy as np
import pytest

from moekit import Registry
from moekit.evaluation import percentile_interval
from moekit.evaluation.evaluate import EvaluateJob, evaluate
from moekit.jobs.adapt import open_fabric
from moekit.jobs.session import open_backbone
from moekit.plugins.changes import KitChanges
from moekit.plugins.resolve import kit_for_data
from moekit.runs.run import Run
from moekit.tasks.segment import FusionSegHead, LinearSegHead
from moekit.training.adapt import AdaptJob, adapt

pytestmark = pytest.mark.bench

SEEDS = tuple(int(seed) for seed in os.environ.get("MOEKIT_SEEDS", "0,1,2").split(","))
ALL = (0, 1, 2)
RESAMPLES = 2000
COMMAND = "python -m pytest -m bench -s tests/benchmarks/test_tasks.py -k "
CAMVID = (
    "masks={path}?classes=sky,building,pole,road,pavement,tree,sign,fence,car,pedestrian,"
    "bicyclist,void&ignore=11&subtype=sequence"
)


def run(folder, kit, data, *, seed, task=None, split="val", change=None, **recipe):
    """Adapts and evaluates; returns the tallies of kit and baseline, and facts of the run."""
    registry = Registry()
    dataset = registry.load_dataset(data, seed=seed)
    spec, dataset = kit_for_data(registry, kit, dataset, task=task, changes=KitChanges(), seed=seed)
    spec = spec if change is None else change(spec)
    chosen = type(spec.recipe).model_validate({**spec.recipe.model_dump(), **recipe})
    fabric = open_fabric("cpu", 1, chosen.precision)
    backbone = open_backbone(device="cpu", weights="auto")
    began = time.perf_counter()
    shared = {"backbone": backbone, "registry": registry, "on_progress": lambda *_: None}
    adapt(
        AdaptJob(kit=spec, dataset=dataset, run=Run(folder), seed=seed, recipe=chosen),
        fabric=fabric,
        on_epoch=lambda *_: None,
        **shared,
    )
    seconds = time.perf_counter() - began
    result = evaluate(
        EvaluateJob(kit=spec, dataset=dataset, run=Run(folder), split=split), **shared
    )
    tallies = registry.task(spec.task).judge.load(folder, "predictions")
    return tallies, {
        "seconds": round(seconds, 1),
        "metrics": result["metrics"],
        "baseline": result["baseline"]["metrics"],
    }


def top1(tally, rows):
    return 100 * (tally.probability_NC[rows].argmax(1) == tally.labels_N[rows]).mean()


def balanced_accuracy(tally, rows):
    labels = tally.labels_N[rows]
    right = tally.probability_NC[rows].argmax(1) == labels
    return 100 * np.mean([right[labels == label].mean() for label in np.unique(labels)])


def miou(tally, rows):
    confusion = tally.confusion_NCC[rows].sum(0).astype(float)
    union = confusion.sum(0) + confusion.sum(1) - np.diag(confusion)
    there = union > 0
    return 100 * (np.diag(confusion)[there] / union[there]).mean()


def gain(pairs, measure):
    """Mean over seeds of ours less theirs, and the interval over images drawn alike."""
    count = len(pairs[0][0])

    def of(rows):
        return float(np.mean([measure(ours, rows) - measure(bare, rows) for ours, bare in pairs]))

    generator = np.random.default_rng(0)
    drawn = [of(generator.integers(0, count, count)) for _ in range(RESAMPLES)]
    return of(np.arange(count)), percentile_interval(np.array(drawn))


def keep(record_figure, key, figure, name):
    value, interval = figure
    if set(SEEDS) == set(ALL):
        record_figure(key, value, ci95=interval, seeds=SEEDS, command=f'{COMMAND}"{name}"')


@pytest.mark.parametrize(("name", "loader"), [("cifar100", "cifar100"), ("grocery", "grocery")])
def test_classes_beat_the_same_head_on_the_frozen_backbone(
    name, loader, shared, tmp_path, record, record_figure
):
    source = f"{loader}={shared / 'data' / name}"
    recipe = {"image_size": 112} if name == "cifar100" else {}
    runs = [
        run(tmp_path / f"{name}-{seed}", "finegrained", source, seed=seed, **recipe)
        for seed in SEEDS
    ]
    figure = gain([tallies for tallies, _ in runs], top1)
    record(
        f"{name}_classes", {"gain": figure, "seeds": SEEDS, "runs": [facts for _, facts in runs]}
    )
    keep(record_figure, f"{name}.gain", figure, name)


def test_outlines_of_streets(shared, tmp_path, record, record_figure):
    source = CAMVID.format(path=shared / "data" / "camvid")
    heads = {
        "cross_layer": functools.partial(FusionSegHead, width=96),
        "concatenation": functools.partial(FusionSegHead, width=96, fusion="concatenation"),
    }
    runs = {
        name: [
            run(
                tmp_path / f"{name}-{seed}",
                "scenes",
                source,
                seed=seed,
                change=lambda kit, head=head: dataclasses.replace(kit, build_head=head),
            )
            for seed in SEEDS
        ]
        for name, head in heads.items()
    }

    def linear(kit):
        return dataclasses.replace(kit, build_head=LinearSegHead, head_blocks=(11,), slots=())

    floors = [
        run(
            tmp_path / f"linear-{seed}",
            "scenes",
            source,
            seed=seed,
            change=linear,
            learning_rate=1e-2,
            epochs=24,
            baseline_epochs=1,
        )
        for seed in SEEDS
    ]
    ours = [tallies[0] for tallies, _ in runs["cross_layer"]]
    over_linear = gain(list(zip(ours, [t[0] for t, _ in floors], strict=True)), miou)
    over_concatenation = gain(
        list(zip(ours, [t[0] for t, _ in runs["concatenation"]], strict=True)), miou
    )
    record(
        "camvid",
        {
            "gain_over_linear": over_linear,
            "gain_of_cross_layer": over_concatenation,
            "gain_of_specialists": gain([t for t, _ in runs["cross_layer"]], miou),
            "seeds": SEEDS,
            "runs": {name: [facts for _, facts in some] for name, some in runs.items()},
            "linear": [facts for _, facts in floors],
        },
    )
    keep(record_figure, "camvid.gain_over_linear", over_linear, "streets")
    keep(record_figure, "camvid.gain_of_cross_layer", over_concatenation, "streets")


@pytest.mark.parametrize(
    ("task", "measure", "key"),
    [
        ("segment", miou, "magnetic_tile.miou"),
        ("classify", balanced_accuracy, "magnetic_tile.balanced_accuracy"),
    ],
)
def test_defects_of_tiles(task, measure, key, shared, tmp_path, record, record_figure):
    source = f"mvtec={shared / 'data' / 'magnetic_tile'}"
    runs = [
        run(tmp_path / f"{task}-{seed}", "industrial", source, seed=seed, task=task, split="test")
        for seed in SEEDS
    ]
    # Each seed deals the set again, so values are averaged, not images.
    values = {
        name: [measure(tallies[place], np.arange(len(tallies[place]))) for tallies, _ in runs]
        for place, name in enumerate(("kit", "frozen"))
    }
    record(f"magnetic_tile_{task}", {**values, "seeds": SEEDS, "runs": [f for _, f in runs]})
    if set(SEEDS) == set(ALL):
        for name, end in (("kit", ""), ("frozen", "_frozen")):
            record_figure(
                f"{key}{end}",
                float(np.mean(values[name])) / 100,
                seeds=SEEDS,
                command=f'{COMMAND}"tiles and {task}"',
            )

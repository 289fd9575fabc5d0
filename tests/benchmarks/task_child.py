"""One adaptation and its evaluation: `python -m tests.benchmarks.task_child ASKED.json FOLDER`.

It runs in a process of its own, so that seconds and peak memory are its own. See `task_runs.run`.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch

from moekit import Registry
from moekit.evaluation.evaluate import EvaluateJob, evaluate
from moekit.jobs.adapt import open_fabric
from moekit.jobs.session import open_backbone
from moekit.plugins.changes import KitChanges
from moekit.plugins.resolve import kit_for_data
from moekit.runs.run import Run
from moekit.tasks.segment import LinearSegHead, PointSegHead
from moekit.training.adapt import AdaptJob, adapt


def _linear(kit):
    """The usual floor: a linear layer on the last block of the frozen backbone."""
    return dataclasses.replace(kit, build_head=LinearSegHead, head_blocks=(11,), slots=())


def _concatenation(kit):
    """The kit's own head, its depths concatenated in place of attended to."""
    head = functools.partial(kit.build_head, fusion="concatenation")
    return dataclasses.replace(kit, build_head=head)


def _points(kit):
    """The kit's own head, with its least certain places decided again from the pixels."""
    head = functools.partial(PointSegHead, **kit.build_head.keywords)
    return dataclasses.replace(kit, build_head=head)


def _background(kit):
    """Class 0 is background, so that figures of the foreground are defined."""
    return dataclasses.replace(kit, options={**kit.options, "background": (0,)})


def _earlier(kit):
    """Specialists from block 4 on, in as many blocks again."""
    (last, *_) = kit.slots
    slots = tuple(dataclasses.replace(last, block=block) for block in range(4, 10))
    return dataclasses.replace(kit, slots=slots)


CHANGES = {
    "linear": _linear,
    "concatenation": _concatenation,
    "points": _points,
    "background": _background,
    "earlier": _earlier,
}


def with_fewer_labels(dataset, share, *, seed):
    """The set with a share of the samples of train and of val, of each class at least two."""
    generator = np.random.default_rng([seed, 10])
    kept = {sample.id for sample in dataset.split("test")}
    for split in ("train", "val"):
        samples = dataset.split(split)
        for label in range(len(dataset.classes)):
            ids = sorted(sample.id for sample in samples if sample.label == label)
            kept |= set(generator.permutation(ids)[: max(2, round(share * len(ids)))].tolist())
    chosen = tuple(sample for sample in dataset.samples if sample.id in kept)
    return dataclasses.replace(dataset, samples=chosen)


class Stopwatch:
    """Tells the seconds in which activations of the frozen backbone were computed."""

    def __init__(self):
        self.prefix = 0.0
        self._last = time.perf_counter()

    def __call__(self, description, done, total):
        now = time.perf_counter()
        if description.startswith("blocks "):
            self.prefix += now - self._last
        self._last = now


def peak_gib():
    """The most memory that this process held, without that of the one it was forked from."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (kib,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(kib) / 2**20


def main(asked, folder):
    registry = Registry()
    seed = asked["seed"]
    dataset = registry.load_dataset(asked["data"], seed=seed)
    spec, dataset = kit_for_data(
        registry, asked["kit"], dataset, task=asked["task"], changes=KitChanges(), seed=seed
    )
    for name in asked["changes"]:
        spec = CHANGES[name](spec)
    if "labels" in asked:
        dataset = with_fewer_labels(dataset, asked["labels"], seed=seed)
    # The search for near-duplicates has its own benchmark, and takes minutes of each run here.
    recipe = spec.recipe.changed({**asked["recipe"], "near_duplicate_pairs": 0})
    fabric = open_fabric("cpu", 1, recipe.precision)
    backbone = open_backbone(device="cpu", weights="auto")
    watch, began, worked = Stopwatch(), time.perf_counter(), time.process_time()
    adapt(
        AdaptJob(kit=spec, dataset=dataset, run=Run(folder), seed=seed, recipe=recipe),
        fabric=fabric,
        backbone=backbone,
        registry=registry,
        on_progress=watch,
        on_epoch=lambda part, figures: sys.stderr.write(f"{folder.name} {part} {dict(figures)}\n"),
    )
    facts = {
        "task": spec.task,
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - worked,
        "prefix_seconds": watch.prefix,
        "peak_gib": peak_gib(),
        "threads": torch.get_num_threads(),
        "load_average": os.getloadavg()[0],
    }
    result = evaluate(
        EvaluateJob(kit=spec, dataset=dataset, run=Run(folder), split=asked["split"]),
        backbone=backbone,
        registry=registry,
        on_progress=lambda *_: None,
    )
    facts |= {
        "split_note": dataset.split_note,
        "n": result["n"],
        "metrics": result["metrics"],
        "baseline": result["baseline"]["metrics"],
        "comparison": result.get("comparison"),
        "threshold": result.get("threshold"),
    }
    if spec.task == "segment":
        facts["class_iou"] = {
            name: figures["iou"]["value"] for name, figures in result["per_class"].items()
        }
    (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[2]))

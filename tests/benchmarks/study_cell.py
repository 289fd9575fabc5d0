"""One cell of the study: a set, a share of its labels and a seed, by every method.

`python -m tests.benchmarks.study_cell SET SHARE SEED FOLDER` writes a file of scores for each
method into the folder. What is there already is not made again. See `test_study`.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from pathlib import Path

import numpy as np

from moekit import Registry
from moekit.bench.kits import placed
from moekit.jobs.session import load_licensed, open_backbone
from moekit.plugins.resolve import prepared, resolve
from moekit.runs import Run
from tests.benchmarks.placements import FROZEN, answered, trained
from tests.benchmarks.study_peers import trained_peer
from tests.benchmarks.task_child import with_fewer_labels

SIDE, TEST = 112, 400
SETS = {"elpv": "industrial", "luna16": "medical"}
STEPS = {0.01: 60, 0.1: 150, 1.0: 300}
BATCH = {0.01: 8, 0.1: 16, 1.0: 32}
"""Both by the share of labels; each method has as many images to learn from."""
CHANGES = {
    "image_size": SIDE,
    "precision": "fp32",
    "views": 2,
    "scoring_views": 1,
    "average": 0.95,
    "least_steps": 0,
    "near_duplicate_pairs": 0,
}
OWN, LATE, SIDED = "own", "late", "side"
PEERS = ("lora", "full", "network")
METHODS = (FROZEN, OWN, LATE, SIDED, *PEERS)


def source_of(name, shared):
    """The set as `moekit adapt` takes it."""
    return name if name == "elpv" else f"candidates={shared / 'data' / 'luna16_candidates'}"


def cell(name, share, seed, folder, source):
    """Answers the test pictures by every method that has not answered them."""
    registry = Registry()
    kit = registry.kit(SETS[name])
    dataset = prepared(kit, load_licensed(registry, source, seed=seed, licence=None), seed=seed)
    if share < 1:
        dataset = with_fewer_labels(dataset, share, seed=seed)
    dataset = fewer_to_judge(dataset, seed)
    steps, batch = STEPS[share], BATCH[share]
    epochs = -(-steps * batch // len(dataset.split("train")))
    lengths = dict.fromkeys(("epochs", "baseline_epochs", "patience"), epochs)
    recipe = kit.recipe.changed({**CHANGES, **lengths, "batch_size": batch})
    backbone = open_backbone(device="cpu", weights="auto")
    specs = {
        OWN: kit,
        LATE: placed(kit, depth=len(backbone.blocks), own=3),
        SIDED: dataclasses.replace(kit, placement="side"),
    }
    for method, spec in specs.items():
        wanted = [method, FROZEN] if method == OWN else [method]
        if all((folder / f"{one}.npz").is_file() for one in wanted):
            continue
        run, worked = Run(folder / method), time.process_time()
        made, models = trained(
            method,
            spec,
            run,
            backbone=backbone,
            registry=registry,
            with_frozen=method == OWN,
            dataset=dataset,
            seed=seed,
            recipe=recipe,
        )
        used = time.process_time() - worked
        found = answered(models, dataset, resolve(kit, registry), backbone, side=SIDE)
        for one, tally in found.items():
            own = made["parameters"]["trained"] if one != FROZEN else 0
            keep(folder, one, tally, parameters=own, processor_s=used)
    splits = {split: dataset.split(split) for split in ("train", "val", "test")}
    parameters = json.loads((folder / f"{OWN}.json").read_text())["parameters"]
    for method in PEERS:
        if (folder / f"{method}.npz").is_file():
            continue
        worked = time.process_time()
        sizes = {"parameters": parameters, "side": SIDE, "steps": steps, "batch": batch}
        tally, own = trained_peer(method, kit, splits, **sizes, seed=seed)
        keep(folder, method, tally, parameters=own, processor_s=time.process_time() - worked)


def keep(folder, method, tally, **facts):
    """Writes the scores of a method; the file of scores comes last."""
    (folder / f"{method}.json").write_text(json.dumps(facts), encoding="utf-8")
    np.savez(folder / f"{method}.npz", ids=tally.ids, scores=tally.scores, labels=tally.labels)


def fewer_to_judge(dataset, seed):
    """The set with at most `TEST` test pictures, the share of positives as it is."""
    samples = dataset.split("test")
    generator, kept = np.random.default_rng([seed, 11]), set()
    for label in (0, 1):
        ids = [sample.id for sample in samples if sample.label == label]
        kept |= set(generator.permutation(ids)[: round(TEST * len(ids) / len(samples))].tolist())
    chosen = tuple(one for one in dataset.samples if one.split != "test" or one.id in kept)
    return dataclasses.replace(dataset, samples=chosen)


if __name__ == "__main__":
    _, given, of, number, out, where = sys.argv
    cell(given, float(of), int(number), Path(out), where)

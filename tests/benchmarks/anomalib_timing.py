"""Times the fitted models that test_anomalib.py left, in turn, so that all are hindered alike.

    python tests/benchmarks/anomalib_timing.py RUNS [SECONDS]

RUNS is the folder of MOEKIT_BENCH_RUNS; the figures go to results/anomalib_timing.json.
"""

import dataclasses
import json
import sys
from pathlib import Path

import torch

from moekit.backbone.sources import find_weights
from moekit.data.stream import image_batches
from moekit.runtime.facts import machine, now, versions
from moekit_industrial.bridge.fitted import load_fitted
from moekit_industrial.bridge.run import preprocess_of
from moekit_industrial.bridge.timing import time_models
from moekit_industrial.loaders.named import load_mvtec

BATCH = 8
HERE = Path(__file__).parent


def main(runs, seconds=300.0):
    torch.set_num_threads(1)
    weights = find_weights("vit_small_patch14_dinov2")
    figures = {}
    for data in ("mvtec_screw", "magnetic_tile"):
        folders = sorted(
            folder for folder in runs.glob(f"{data}-*") if (folder / "model.json").is_file()
        )
        source = HERE.parents[1] / ".." / "shared" / "data" / data
        if not folders or not source.is_dir():
            continue
        samples = load_mvtec(source, 0).split("test")[:BATCH]
        models, batches = {}, {}
        for folder in folders:
            name = folder.name.removeprefix(f"{data}-")
            models[name], size = load_fitted(folder, weights)
            preprocess = preprocess_of(models[name], size)
            inputs = [(sample.id, sample.path) for sample in samples]
            batches[name] = next(image_batches(inputs, preprocess, batch_size=BATCH)).images
        timed = time_models(models, batches, seconds=seconds)
        figures[data] = {
            name: {"images_per_s": 1000 * BATCH / one.milliseconds, **dataclasses.asdict(one)}
            for name, one in timed.items()
        }
    path = HERE / "results" / "anomalib_timing.json"
    facts = {"created": now(), "batch_size": BATCH, "versions": versions(), "machine": machine()}
    path.write_text(json.dumps({**facts, "data": figures}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(float, sys.argv[2:3]))

"""`predict` of classes and outlines, with reading and drawing, against bare forward passes.

As in `test_throughput.py` for scores: rounds of both, one after the other, in one process. A kit
that averages two views of a picture passes it twice, so the bare backbone does too: `views` says
how often. `ratio_of_one_pass` is next to one bare pass, however many views there are. The kits are
those of `test_classes.py` and `test_streets.py`, trained; their runs are made if they are not kept
(see `task_runs`).
"""

import os
import statistics
import time

import pytest
import torch

from moekit import Registry
from moekit.jobs.session import open_backbone
from moekit.plugins.resolve import kit_of_run
from moekit.prediction.inputs import collect_inputs
from moekit.prediction.predict import predict
from moekit.runs import Run
from moekit.runtime.device import autocast
from moekit.runtime.load import load_answerer
from tests.benchmarks.task_runs import CAMVID, CLASSES, TINY, run

pytestmark = pytest.mark.bench
ROUNDS, LEAST = 5, 0.9
IMAGES, BATCHES = 8 if TINY else 48, {"classify": 16, "segment": 8}


@pytest.mark.parametrize("task", ["classify", "segment"])
def test_predict_keeps_nine_tenths_of_the_bare_throughput(task, shared, runs, tmp_path, record):
    made, spec, folder = trained(task, shared, runs)
    registry = Registry()
    backbone = open_backbone(device="cpu", weights="auto")
    spec = kit_of_run(registry, spec, made.read_finished())
    predictor, answerer = load_answerer(made, spec, backbone=backbone, registry=registry)
    batch = min(IMAGES, BATCHES[task])
    inputs = collect_inputs(sorted(folder.glob("*.jpg"))[:: 2 if TINY else 1][:IMAGES])
    ready = torch.stack([answerer.preprocess(path) for _, path in inputs[:batch]])
    times = {"bare": [], "predict": []}
    for number in range(ROUNDS + 1):
        began = time.perf_counter()
        passes = len(inputs) // batch * len(predictor.views)
        forward(backbone, ready, predictor.arithmetic, passes)
        middle = time.perf_counter()
        predict(
            inputs,
            answerer=answerer,
            provenance={"benchmark": True},
            out=tmp_path / str(number),
            batch_size=batch,
            on_progress=lambda *_: None,
        )
        times["bare"].append(middle - began)
        times["predict"].append(time.perf_counter() - middle)
    ratios = [a / b for a, b in zip(times["bare"][1:], times["predict"][1:], strict=True)]
    figures = {
        "task": task,
        "arithmetic": predictor.arithmetic,
        "input": list(ready.shape[2:]),
        "batch_size": batch,
        "views": len(predictor.views),
        "threads": torch.get_num_threads(),
        "load_average": os.getloadavg()[0],
        "images_per_s": {
            name: len(inputs) / statistics.median(taken[1:]) for name, taken in times.items()
        },
        "ratio": statistics.median(ratios),
        "ratio_of_one_pass": statistics.median(ratios) / len(predictor.views),
        "ratio_quartiles": statistics.quantiles(ratios, n=4)[::2],
        "rounds": ROUNDS,
    }
    record(f"throughput_{task}", figures)
    assert figures["ratio"] >= LEAST or TINY


@torch.inference_mode()
def forward(backbone, images, arithmetic, times):
    for _ in range(times):
        with autocast(images.device, arithmetic):
            backbone(images)


def trained(task, shared, runs):
    """A trained run of seed 0, its kit, and a folder of its pictures."""
    data = shared / "data"
    if task == "classify":
        source = f"grocery={data / 'grocery'}"
        run(runs / "grocery-0", "finegrained", source, seed=0, **CLASSES["grocery"])
        return Run(runs / "grocery-0"), "finegrained", data / "grocery" / "images"
    source = CAMVID.format(path=data / "camvid")
    run(runs / "camvid-kit-0", "scenes", source, seed=0)
    return Run(runs / "camvid-kit-0"), "scenes", data / "camvid" / "images"

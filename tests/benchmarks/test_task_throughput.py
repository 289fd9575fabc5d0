"""`predict` of classes and outlines, with reading and drawing, against bare forward passes.

As in `test_throughput.py` for scores: rounds of each, one after the other, in one process. A kit
that averages two views of a picture passes it twice, so the bare backbone does too: `views` says
how often. `ratio_of_one_pass` is next to one bare pass, however many views there are.

`ratio` is next to the backbone, so it has the price of specialists and head too. `ratio_of_kit` is
next to the forward passes of the trained kit, so it has that of reading, drawing and writing only.
The kits are those of `test_classes.py` and `test_streets.py`, trained for one epoch, since how good
they are does not matter for the time; their runs are made if they are not kept (see `task_runs`).
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
from tests.benchmarks.task_runs import CAMVID, TINY, run

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
    batches = len(inputs) // batch

    def answered(number):
        predict(
            inputs,
            answerer=answerer,
            provenance={"benchmark": True},
            out=tmp_path / str(number),
            batch_size=batch,
            on_progress=lambda *_: None,
        )

    calls = {
        "bare": lambda _: forward(
            backbone, ready, predictor.arithmetic, batches * len(predictor.views)
        ),
        "kit": lambda _: [predictor(ready) for _ in range(batches)],
        "predict": answered,
    }
    times = {name: [] for name in calls}
    for number in range(ROUNDS + 1):
        for name, call in calls.items():
            began = time.perf_counter()
            call(number)
            times[name].append(time.perf_counter() - began)
    ratios, of_kit = (
        [a / b for a, b in zip(times[name][1:], times["predict"][1:], strict=True)]
        for name in ("bare", "kit")
    )
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
        "ratio_of_kit": statistics.median(of_kit),
        "ratio_of_kit_quartiles": statistics.quantiles(of_kit, n=4)[::2],
        "rounds": ROUNDS,
    }
    record(f"throughput_{task}", figures)
    assert figures["ratio_of_kit"] >= LEAST or TINY
    assert figures["ratio"] >= LEAST or TINY


@torch.inference_mode()
def forward(backbone, images, arithmetic, times):
    for _ in range(times):
        with autocast(images.device, arithmetic):
            backbone(images)


SHORT = {"epochs": 1, "baseline_epochs": 1, "views": 1, "least_steps": 10}


def trained(task, shared, runs):
    """A trained run of seed 0, its kit, and a folder of its pictures."""
    data = shared / "data"
    if task == "classify":
        source = f"grocery={data / 'grocery'}"
        run(runs / "quick-grocery", "finegrained", source, seed=0, **SHORT)
        return Run(runs / "quick-grocery"), "finegrained", data / "grocery" / "images"
    source = CAMVID.format(path=data / "camvid")
    run(runs / "quick-camvid", "scenes", source, seed=0, **SHORT)
    return Run(runs / "quick-camvid"), "scenes", data / "camvid" / "images"

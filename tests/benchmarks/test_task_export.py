"""Exports of classes and outlines: parity with the kit, and what int8 loses.

The kits are those of `test_classes.py` and `test_streets.py`, seed 0, trained; their runs are made
if they are not kept (see `task_runs`). The loss is that of the task's headline metric on the
validation split, with the interval of a paired bootstrap, as `moekit export --int8` tells it.
Images per second are of both graphs in turn, on the run's own input, on as many threads as torch.
"""

import os
import statistics
import time

import pytest
import torch

from moekit.export.record import open_export
from moekit.export.sessions import openvino_session
from moekit.jobs.export import export_run
from moekit.runs import Run
from tests.benchmarks.task_runs import CAMVID, CLASSES, TINY, run

pytestmark = pytest.mark.bench
KITS = {
    "classify": ("finegrained", "grocery", "grocery-0"),
    "segment": ("scenes", "camvid", "camvid-kit-0"),
}
MOST_LOSS, ROUNDS, BATCH = 0.01, 7, 8


@pytest.mark.parametrize("task", sorted(KITS))
def test_an_export_is_the_kit_and_int8_loses_little(task, shared, runs, record):
    kit, name, folder = KITS[task]
    path = shared / "data" / name
    source = CAMVID.format(path=path) if task == "segment" else f"{name}={path}"
    run(runs / folder, kit, source, seed=0, **CLASSES.get(name, {}))
    made = Run(runs / folder)
    figures = {"task": task, "kit": kit, "data": name}
    for int8 in (False, True):
        # What is lost is measured here, so that a graph that loses more is recorded too.
        facts, _ = export_run(
            kit,
            run_folder=made.folder,
            data=source,
            int8=int8,
            max_loss=1.0 if int8 else None,
            allow_slower=int8,
            on_progress=lambda *_: None,
        )
        figures["int8" if int8 else "fp32"] = {
            key: facts[key] for key in ("parity", "validation", "quantisation") if key in facts
        }
    figures |= race(made)
    record(f"export_{task}", figures)
    assert figures["int8"]["quantisation"]["accuracy"]["loss"] <= MOST_LOSS or TINY


def race(made):
    """Rounds in which each graph has one batch, one after the other."""
    threads = torch.get_num_threads()
    exports = {name: open_export(made, name) for name in ("openvino", "openvino-int8")}
    sessions = {
        name: openvino_session(export.model, threads=threads) for name, export in exports.items()
    }
    shape = (BATCH, *exports["openvino"].preprocess.shape)
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0)).numpy()
    taken = {name: [] for name in sessions}
    for _ in range(ROUNDS + 1):
        for name, session in sessions.items():
            began = time.perf_counter()
            session(images)
            taken[name].append(time.perf_counter() - began)
    pairs = zip(taken["openvino"][1:], taken["openvino-int8"][1:], strict=True)
    ratios = [fp32 / int8 for fp32, int8 in pairs]
    return {
        "threads": threads,
        "load_average": os.getloadavg()[0],
        "batch_size": BATCH,
        "input": list(shape[2:]),
        "images_per_s": {name: BATCH / statistics.median(own[1:]) for name, own in taken.items()},
        "ratio": statistics.median(ratios),
        "ratio_quartiles": statistics.quantiles(ratios, n=4)[::2],
    }

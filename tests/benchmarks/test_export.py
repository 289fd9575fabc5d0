"""Int8 next to float32 in OpenVINO, on solar cells: images per second in one run, and AUROC.

`MOEKIT_BENCH_RUN` names a run of `moekit adapt industrial --data elpv` to use instead of making
one; `MOEKIT_BENCH_THREADS` is the number of threads, 2 if it is not given.
"""

import json
import os
import statistics
import time
from pathlib import Path

import pytest
import torch

from moekit import Registry
from moekit.cli.adapt import run_adaptation
from moekit.cli.export import run_export
from moekit.cli.output import reporter
from moekit.evaluation import pass_over
from moekit.export.predictor import ExportedPredictor
from moekit.export.record import open_export
from moekit.export.sessions import openvino_session
from moekit.runs import Run
from moekit.runtime import resolve
from moekit.tasks.score import SCORE, auroc, delong_test

pytestmark = pytest.mark.bench
THREADS = int(os.environ.get("MOEKIT_BENCH_THREADS", "2"))
BATCHES, ROUNDS = (1, 8), 11
NAMES = ("openvino", "openvino-int8")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run, and its exports in float32 and int8, made again."""
    given = os.environ.get("MOEKIT_BENCH_RUN")
    folder = Path(given) if given else tmp_path_factory.mktemp("runs") / "elpv"
    with reporter() as progress:
        if not given:
            run_adaptation("industrial", data="elpv", run_folder=folder, progress=progress)
        for int8 in (False, True):
            run_export("industrial", run_folder=folder, data="elpv", int8=int8, progress=progress)
    return Run(folder)


def test_int8_is_two_and_a_half_times_as_fast_and_loses_little(run, record):
    exports = {name: open_export(run, name) for name in NAMES}
    sessions = {
        name: openvino_session(export.model, threads=THREADS) for name, export in exports.items()
    }
    size = exports["openvino"].preprocess.size
    speeds = {str(batch): _race(sessions, batch, size) for batch in BATCHES}
    figures = {
        "threads": THREADS,
        "load_average": os.getloadavg()[0],
        "image_size": size,
        "training": run.read_finished()["training"]["kit"],
        "batches": speeds,
        "accuracy": _accuracy(run, exports, sessions),
        "parity": json.loads((exports["openvino"].folder / "export.json").read_text())["parity"],
    }
    record("export", figures)
    assert figures["accuracy"]["loss"] <= 0.008
    assert speeds["8"]["ratio"] >= 2.5


def _race(sessions, batch, size):
    """Rounds in which each has one batch, one after the other, so that load falls on both."""
    images = torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(0)).numpy()
    walls, works = ({name: [] for name in sessions} for _ in range(2))
    for _ in range(ROUNDS + 1):
        for name, session in sessions.items():
            wall, work = time.perf_counter(), time.process_time()
            session(images)
            walls[name].append(time.perf_counter() - wall)
            works[name].append(time.process_time() - work)
    ratios = _ratios(walls)
    return {
        "images_per_s": {name: batch / statistics.median(walls[name][1:]) for name in sessions},
        "ratio": statistics.median(ratios),
        "ratio_quartiles": statistics.quantiles(ratios, n=4)[::2],
        "ratio_of_processor_time": statistics.median(_ratios(works)),
        "rounds": ROUNDS,
    }


def _ratios(times):
    pairs = zip(*(times[name][1:] for name in NAMES), strict=True)
    return [fp32 / int8 for fp32, int8 in pairs]


def _accuracy(run, exports, sessions):
    """AUROC on the test split."""
    registry = Registry()
    dataset = registry.load_dataset("elpv", seed=run.read_finished()["request"]["seed"])
    samples = dataset.split("test")
    resolved = resolve(registry.kit("industrial"), registry)
    scores = {}
    for name, session in sessions.items():
        precision = exports[name].record.precision
        passed = pass_over(
            samples,
            ExportedPredictor(session, task=SCORE, precision=precision),
            exports[name].preprocess,
            task=SCORE,
            context=resolved.context(classes=dataset.classes, frame=exports[name].preprocess.frame),
            models=1,
            batch_size=8,
            on_progress=lambda *_: None,
        )
        (scores[precision],) = passed.tallies
    labels = scores["fp32"].labels
    test = delong_test(scores["fp32"].scores, scores["int8"].scores, labels)
    return {
        "split": "test",
        "n": len(labels),
        "auroc": {name: auroc(one.scores, labels) for name, one in scores.items()},
        "loss": test.difference,
        "ci95": list(test.ci95),
    }

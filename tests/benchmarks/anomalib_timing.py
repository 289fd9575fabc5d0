"""Times models in turn, in one process: anomalib's, and the kit in torch and in OpenVINO.

    python tests/benchmarks/anomalib_timing.py RUNS [ROUNDS]

RUNS is the folder of MOEKIT_BENCH_RUNS with what test_anomalib.py and test_anomaly.py left; the
figures go to results/anomalib_timing.json. All compute in float32 on one thread, in turn, so that
all are hindered alike; times are of the processor.

PatchCore stands there twice: as it was fitted, and with as many members as it keeps where nothing
is drawn before (a tenth of all training patches). The latter are those of the fitted one, repeated:
they decide how long a search takes, not what it finds, so only its time is reported.
"""

import copy
import functools
import json
import math
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch

from moekit import Registry
from moekit.backbone import find_weights
from moekit.cli.export import run_export
from moekit.cli.output import reporter
from moekit.data import image_batches
from moekit.export.sessions import openvino_session
from moekit.jobs.trained import Opening, open_trained
from moekit.plugins.resolve import kit_of_run
from moekit.runs import Run, machine, now, versions
from moekit_industrial.bridge.fitted import load_fitted
from moekit_industrial.bridge.run import preprocess_of
from moekit_industrial.bridge.scores import raw_output
from moekit_industrial.loaders.named import load_mvtec

BATCH, PATCHES, CORESET = 8, 1024, 0.1
WHOLE = "patchcore, nothing drawn before"
SMALL = 336
"""Side of the smaller images of test_anomaly.py."""
HERE = Path(__file__).parent


def main(runs, rounds=7):
    torch.set_num_threads(1)
    weights = find_weights("vit_small_patch14_dinov2")
    figures = {}
    for data in ("mvtec_screw", "magnetic_tile"):
        source = HERE.parents[1] / ".." / "shared" / "data" / data
        samples = load_mvtec(source, 0).split("test")[:BATCH]
        calls = {
            **_of_anomalib(runs, data, weights, samples),
            **_of_the_kit("moekit", runs / f"{data}-moekit-0", source, samples),
            **_of_the_kit(f"moekit {SMALL}", runs / f"{data}-moekit-{SMALL}-0", source, samples),
        }
        figures[data] = _times(calls, rounds)
    path = HERE / "results" / "anomalib_timing.json"
    facts = {
        "command": "python tests/benchmarks/anomalib_timing.py RUNS",
        "created": now(),
        "batch_size": BATCH,
        "versions": versions(),
        "machine": machine(),
    }
    path.write_text(json.dumps({**facts, "data": figures}, indent=2) + "\n", encoding="utf-8")


def _of_anomalib(runs, data, weights, samples):
    calls = {}
    for name in ("patchcore", "padim", "anomaly_dino"):
        folder = runs / f"{data}-{name}"
        model, size = load_fitted(folder, weights)
        images = _read(samples, preprocess_of(model, size))
        calls[name] = functools.partial(raw_output, model, images)
        if name == "patchcore":
            train = json.loads((folder / "result.json").read_text())["resources"]["images"]["train"]
            whole = _with_members(model, round(CORESET * train * PATCHES))
            calls[WHOLE] = functools.partial(raw_output, whole, images)
            for key, one in ((name, model), (WHOLE, whole)):
                calls[f"{key}, OpenVINO"] = functools.partial(_in_pairs, _in_openvino(one), images)
    return calls


def _with_members(patchcore, members):
    whole = copy.deepcopy(patchcore)
    bank = whole.model.memory_bank
    whole.model.memory_bank = bank.repeat(math.ceil(members / len(bank)), 1)[:members].clone()
    return whole


def _in_openvino(model):
    """anomalib's own export, which fixes the batch at two images."""
    with tempfile.TemporaryDirectory() as folder:
        path = model.to_openvino(folder, input_size=(448, 448))
        return openvino_session(Path(path), threads=1)


def _in_pairs(session, images):
    for pair in torch.split(images, 2):
        session(pair.numpy())


def _of_the_kit(name, folder, source, samples):
    run, registry = Run(folder), Registry()
    spec = kit_of_run(registry, "industrial", run.read_finished())
    if not (folder / "export" / "openvino").is_dir():
        with reporter() as progress:
            run_export("industrial", run_folder=folder, data=f"mvtec={source}", progress=progress)
    calls = {}
    for whole_name, backend, precision in (
        (name, "torch", "fp32"),
        (f"{name}, OpenVINO", "openvino", None),
    ):
        trained = open_trained(
            spec,
            run,
            registry=registry,
            how=Opening(precision=precision, device="cpu", backend=backend),
        )
        answerer = trained.answerer
        images = _read(samples, answerer.preprocess)
        calls[whole_name] = functools.partial(answerer.compute, images)
    return calls


def _read(samples, preprocess):
    inputs = [(sample.id, sample.path) for sample in samples]
    return next(image_batches(inputs, preprocess, batch_size=BATCH)).images


@torch.inference_mode()
def _times(calls, rounds):
    """Images per second of processor time, and how often the first one's time fits into it."""
    times = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            began = time.process_time()
            call()
            if number:
                times[name].append(time.process_time() - began)
    first = next(iter(calls))
    return {
        name: {
            "images_per_s": BATCH / statistics.median(own),
            "speed_over": {
                other: statistics.median(b / a for a, b in zip(own, times[other], strict=True))
                for other in (first, WHOLE)
            },
            "rounds": rounds,
        }
        for name, own in times.items()
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:3]))

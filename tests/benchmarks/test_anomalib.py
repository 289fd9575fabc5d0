"""PatchCore, PaDiM and AnomalyDINO of anomalib on the shared backbone, at 448 pixels.

Each model runs as `moekit anomalib` in a process of its own, so that its peak memory is its own.
One seed: it draws the presample, PatchCore's first centre, PaDiM's features and which good training
images validate; the test split is the data's.

Layers follow the papers' places in a network of four stages: PatchCore takes the ends of the second
and third (half and three quarters of the depth), PaDiM those of the first three; AnomalyDINO takes
the last block. Memory banks are drawn from at random before they are thinned out, since greedy
selection on all patches takes hours on a CPU: PatchCore then keeps its default, a tenth.

With MOEKIT_BENCH_RUNS=FOLDER the runs are kept there, and finished ones are not made again.
`python tests/benchmarks/anomalib_timing.py FOLDER` times the fitted models in turn.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from moekit.tasks.score.delong import delong_test
from moekit.tasks.score.predictions import Predictions

pytestmark = pytest.mark.bench

MODELS = {
    "patchcore": (
        "Patchcore",
        "--presample=65536",
        "--set=layers=['blocks.5','blocks.8']",
        "--set=coreset_sampling_ratio=0.1",
    ),
    "padim": (
        "Padim",
        "--set=layers=['blocks.2','blocks.5','blocks.8']",
        "--set=n_features=100",
    ),
    "anomaly_dino": ("AnomalyDINO", "--presample=32768"),
}
COMMAND = (sys.executable, "-m", "moekit", "anomalib", "--device=cpu", "--batch-size=8")
DATA = ("mvtec_screw", "magnetic_tile")
KEPT = ("auroc", "pixel_auroc", "aupro", "aupro_5", "escape_rate", "overkill_rate")


def test_models_of_anomalib_on_the_shared_backbone(shared, tmp_path, record):
    folder = Path(os.environ.get("MOEKIT_BENCH_RUNS") or tmp_path)
    figures = {}
    for data in DATA:
        runs = {
            name: _run(shared / "data" / data, folder / f"{data}-{name}", MODELS[name])
            for name in MODELS
        }
        figures[data] = {name: _figures(result) for name, result in runs.items()}
        figures[data]["paired"] = _paired(folder, data)
        record("anomalib", {"image_size": 448, "seed": 0, "data": figures})
    for data in DATA:
        for name in MODELS:
            assert figures[data][name]["n"] > 0
            assert figures[data][name]["metrics"]["aupro"]["value"] is not None
    # Below this a baseline is broken, not weak.
    assert figures["magnetic_tile"]["patchcore"]["metrics"]["auroc"]["value"] > 0.8


def _run(data, out, arguments):
    if not (out / "result.json").is_file():
        done = subprocess.run(
            [*COMMAND, *arguments, f"--data=mvtec={data}", f"--out={out}"],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=6 * 3600,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((out / "result.json").read_text())


def _figures(result):
    return {
        "model": result["model"],
        "n": result["n"],
        "positives": result["positives"],
        "split_note": result["split_note"],
        "metrics": {name: result["metrics"][name] for name in KEPT},
        "auroc_delong_ci95": result["auroc_delong_ci95"],
        "threshold": result["threshold"],
        "resources": result["resources"],
        "throughput": result["throughput"],
        "threads": result["machine"]["threads"],
        "backbone": {key: result["backbone"][key] for key in ("architecture", "origin", "sha256")},
        "versions": result["versions"],
    }


def _paired(folder, data):
    """DeLong's paired test of each model against PatchCore, on the same images."""
    read = {
        name: Predictions.read_csv(folder / f"{data}-{name}" / "predictions.csv") for name in MODELS
    }
    best = read["patchcore"]
    tests = {}
    for name, other in read.items():
        if name != "patchcore":
            assert other.ids == best.ids
            found = delong_test(other.scores, best.scores, best.labels, best.groups)
            tests[f"{name} less patchcore"] = {
                "auroc_difference": found.difference,
                "ci95": list(found.ci95),
                "p": found.p,
            }
    return tests

"""The industrial kit on good images only: three seeds a product, both products in one run, and
smaller images, which take about half the time.

Each run is `moekit adapt` and `moekit evaluate` in processes of their own, on one thread, so that
peak memory and processor time are theirs. The data's test split is used as it is given; the seed
draws which good training images validate and what the memory keeps.

With MOEKIT_BENCH_RUNS=FOLDER the runs are kept there, and finished ones are not made again.
`python tests/benchmarks/anomalib_timing.py FOLDER` then times them next to anomalib's models.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from moekit.tasks.score.metrics import auroc
from moekit.tasks.score.predictions import RECOGNISED, Predictions

pytestmark = pytest.mark.bench

PRODUCTS = ("mvtec_screw", "magnetic_tile")
SEEDS = (0, 1, 2)
BOTH = "both"
SMALL = 336
KEPT = ("auroc", "pixel_auroc", "aupro", "aupro_5", "f1", "escape_rate", "overkill_rate")


def test_good_images_alone(shared, tmp_path, record):
    folder = Path(os.environ.get("MOEKIT_BENCH_RUNS") or tmp_path)
    data = shared / "data"
    figures = {"image_size": 448, "products": {}, "mean": {}}
    for product in PRODUCTS:
        runs = {seed: _run(f"mvtec={data / product}", folder, product, seed) for seed in SEEDS}
        figures["products"][product] = {str(seed): _figures(run) for seed, run in runs.items()}
        figures["mean"][product] = {
            part: {
                name: statistics.mean(
                    run["metrics"][part][name]["value"]
                    for run in figures["products"][product].values()
                )
                for name in KEPT
            }
            for part in ("kit", "baseline")
        }
        record("anomaly", figures)
    figures["smaller"] = {"image_size": SMALL} | {
        product: _figures(_run(f"mvtec={data / product}", folder, product, 0, size=SMALL))
        for product in PRODUCTS
    }
    both = f"mvtec={data}?products={','.join(PRODUCTS)}"
    figures["both"] = _together(_run(both, folder, BOTH, 0), figures["products"])
    record("anomaly", figures)
    for product in PRODUCTS:
        mean = figures["mean"][product]
        assert mean["kit"]["auroc"] > mean["baseline"]["auroc"]
        assert mean["kit"]["aupro"] > mean["baseline"]["aupro"]
        assert figures["both"]["products"][product]["auroc_less_alone"] >= -0.01
    assert figures["both"]["recognised"] >= 0.99


def _run(data, folder, name, seed, *, size=None):
    out = folder / (f"{name}-moekit-{seed}" if size is None else f"{name}-moekit-{size}-{seed}")
    used = out / "used.json"
    if not used.is_file():
        given = (f"--data={data}", "--device=cpu")
        sized = () if size is None else (f"--image-size={size}",)
        adapt = _timed("adapt", "industrial", *given, *sized, f"--seed={seed}", f"--out={out}")
        evaluate = _timed("evaluate", "industrial", *given, f"--run={out}")
        used.write_text(json.dumps({"adapt": adapt, "evaluate": evaluate}), encoding="utf-8")
    return out


def _timed(*arguments):
    """What a command used."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "moekit", *arguments], env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, arguments
    return {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_memory_bytes": usage.ru_maxrss * 1024,
    }


def _figures(out):
    result = json.loads((out / "result.json").read_text())
    run = json.loads((out / "run.json").read_text())
    return {
        "n": result["n"],
        "positives": result["positives"],
        "split_note": result["split_note"],
        "metrics": {
            "kit": {name: result["metrics"][name] for name in KEPT},
            "baseline": {name: result["baseline"]["metrics"][name] for name in KEPT},
        },
        "comparison": {
            key: result["comparison"][key] for key in ("auroc_difference", "ci95", "delong_p")
        },
        "threshold": result["threshold"],
        "filling": run["training"]["kit"],
        "used": json.loads((out / "used.json").read_text()),
    }


def _together(out, alone):
    """The run on both products: how many it distinguished, and each product next to its own run."""
    scored = Predictions.read_csv(out / "predictions.csv")
    products = scored.facts["product"]
    told = [a == b for a, b in zip(scored.facts[RECOGNISED], products, strict=True)]
    figures = {**_figures(out), "recognised": statistics.mean(told), "products": {}}
    for product in PRODUCTS:
        rows = [row for row, name in enumerate(products) if name == product]
        area = auroc(scored.scores[rows], scored.labels[rows])
        own = alone[product]["0"]["metrics"]["kit"]["auroc"]["value"]
        figures["products"][product] = {"auroc": area, "auroc_less_alone": area - own}
    return figures

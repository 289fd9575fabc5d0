"""Kits in int8 that share one prefix, next to as many whole int8 graphs: processor time and memory.

The graphs are of the industrial kit, see `split_kits`. Both ways run in turn; a figure is the
median of ratios within a round, of the process's time. Run it with `OMP_NUM_THREADS=1`.
"""

import gc
import os
import time
from pathlib import Path

import pytest
import torch

from moekit import Registry
from moekit.bench.timing import compare
from moekit.export.together import compute_exports
from tests.benchmarks.split_kits import SPLIT, WHOLE, Exports
from tests.benchmarks.task_runs import TINY

pytestmark = pytest.mark.bench
COUNTS = (1, 2, 4, 8)
SIDE, SECONDS, CALIBRATION = (56, 1.0, 2) if TINY else (224, 30.0, 8)
MOST = 0.5
"""Time of eight kits on one prefix, as a share of that of eight whole graphs."""
COMMAND = "OMP_NUM_THREADS=1 python -m pytest -m bench -s tests/benchmarks/test_split_export.py"


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    spec = Registry().kit("industrial")
    return Exports(tmp_path_factory.mktemp("exports"), spec, side=SIDE, images=CALIBRATION)


def resident():
    """Bytes that the process holds; None if the system does not say."""
    gc.collect()
    path = Path("/proc/self/status")
    lines = path.read_text(encoding="ascii").splitlines() if path.is_file() else []
    found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:")]
    return found[0] if found else None


def test_eight_int8_kits_share_a_prefix(exports, record, record_figure):
    images = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    kits, memory = {}, {}
    for way in (SPLIT, WHOLE):
        before = resident()
        kits[way] = exports.opened(way, max(COUNTS))
        assert len(compute_exports(kits[way], images, {})) == max(COUNTS)
        after = resident()
        memory[way] = None if before is None else after - before
    counts = {}

    def call(some):
        return lambda _: compute_exports(some, images, {})

    for count in COUNTS:
        calls = {way: call(dict(list(some.items())[:count])) for way, some in kits.items()}
        timings = compare(
            calls, baseline=WHOLE, seconds=SECONDS, least_rounds=9, clock=time.process_time
        )
        one = timings[SPLIT]
        counts[str(count)] = {
            "ratio": one.ratio,
            "quartiles": [one.ratio_q25, one.ratio_q75],
            "split_ms": one.milliseconds,
            "whole_ms": timings[WHOLE].milliseconds,
            "rounds": one.rounds,
        }
    eight, alone = counts["8"], counts["1"]["whole_ms"]
    about = {
        "threads": torch.get_num_threads(),
        "load_average": os.getloadavg()[0],
        "memory_of_eight_mib": {
            way: None if value is None else round(value / 2**20) for way, value in memory.items()
        },
        "shared_blocks": exports.split["prefix"]["blocks"],
    }
    record("split_export", {"images": 1, "input": SIDE, "kits": counts, **about})
    record_figure(
        "serve.split_export_8",
        round(eight["ratio"], 3),
        command=COMMAND,
        quartiles=[round(value, 3) for value in eight["quartiles"]],
        times_one_whole=round(eight["split_ms"] / alone, 2),
        **about,
    )
    assert TINY or eight["ratio"] <= MOST

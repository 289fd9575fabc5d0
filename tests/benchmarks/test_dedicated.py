"""Kits that share a backbone next to as many small networks, one for each kit.

Eight kits in the side stream answer one image by the shared backbone, in float32 by torch. Next to
them stand eight EfficientNet-Lite0 in int8 by OpenVINO, with the same head on their pooled features
and each with weights of its own. All run in turn in one process. Time is processor time of all
threads, which leaves out what else the machine does. Memory is the peak of a process for each, less
that of a process that holds neither.

`kits.break_even` is the number of kits from which sharing takes less time. The time of k kits is a
line through the figures of 1 and 16 kits, that of k networks is k times one. It is null if a kit
that is added costs more than a network. `MOEKIT_BENCH_NETWORKS=FOLDER` keeps the quantised
networks.
"""

import math
import os
import subprocess
import time
from pathlib import Path

import pytest
import torch

from moekit import Registry
from moekit.bench.kits import ALONE, kit_calls
from moekit.bench.timing import compare
from moekit.jobs.session import open_backbone
from moekit.testing.child import child_command, child_environment
from tests.benchmarks.dedicated import MODEL, open_networks, side_kits, write_networks
from tests.benchmarks.lite0 import need_lite0
from tests.benchmarks.task_runs import TINY

pytestmark = pytest.mark.bench
COMMAND = "make bench (tests/benchmarks/test_dedicated.py)"
ROOT = Path(__file__).parents[2]
COUNTS, KITS = (1, 8, 16), 8
SIDE, SECONDS = (56, 1.0) if TINY else (224, 60.0)


def test_from_how_many_kits_on_sharing_pays(tmp_path, record, record_figure):
    need_lite0()
    pytest.importorskip("nncf", reason="needs the extra `export`")
    folder = Path(os.environ.get("MOEKIT_BENCH_NETWORKS", tmp_path))
    if not (folder / f"{MODEL}-{KITS - 1}.xml").is_file():
        write_networks(folder, KITS, SIDE)
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(1, 3, SIDE, SIDE, generator=generator) for _ in range(2)]
    backbone = open_backbone(device="cpu", weights="auto")
    kits = side_kits(max(COUNTS), backbone=backbone, registry=Registry())
    calls, _ = kit_calls(kits, inputs, COUNTS)
    networks = open_networks(folder, KITS)
    arrays = [image.numpy() for image in inputs]
    calls["8 networks"] = lambda number: [one(arrays[number % 2]) for one in networks]
    timings = compare(calls, baseline=ALONE, seconds=SECONDS, clock=time.process_time)
    one_network = timings["8 networks"].ratio / KITS
    slope = (timings["16 kits"].ratio - timings["1 kits"].ratio) / (16 - 1)
    first = timings["1 kits"].ratio - slope
    even = math.ceil(first / (one_network - slope)) if one_network > slope else None
    memory = {
        "kits": _peak("kits", KITS, folder),
        "networks": _peak("networks", KITS, folder),
        "imports": _peak("networks", 0, folder),
    }
    own = {name: value - memory["imports"] for name, value in memory.items()}
    about = {
        "threads": torch.get_num_threads(),
        "load_average": os.getloadavg()[0],
        "clock": "processor time",
    }
    figures = {
        "ratio_to_one_kit": {name: one.ratio for name, one in timings.items()},
        "quartiles": {name: (one.ratio_q25, one.ratio_q75) for name, one in timings.items()},
        "milliseconds": {name: one.milliseconds for name, one in timings.items()},
        "rounds": timings[ALONE].rounds,
        "a_kit_more": slope,
        "a_network_more": one_network,
        "break_even": even,
        "peak_bytes": memory,
    }
    record("dedicated", {"images": 1, "input": SIDE, **about, **figures})
    over = timings["8 kits"].ratio / timings["8 networks"].ratio
    record_figure(
        "kits8.over_dedicated",
        round(over, 2),
        command=COMMAND,
        memory_ratio=round(own["kits"] / own["networks"], 2) if memory["kits"] else None,
        **about,
    )
    record_figure("kits.break_even", even, command=COMMAND, first_kit=round(first, 3), **about)


def _peak(what, count, folder):
    """The peak memory, in bytes, of a process that answers by that many kits or networks."""
    known = child_environment()
    done = subprocess.run(
        child_command("-m", "tests.benchmarks.dedicated", what, str(count), str(folder), str(SIDE)),
        env={**known, "PYTHONPATH": os.pathsep.join([str(ROOT), known["PYTHONPATH"]])},
        check=True,
        capture_output=True,
        text=True,
    )
    return int(done.stdout.split()[-1])

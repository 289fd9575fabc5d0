"""Kits that share a backbone next to as many small networks, one for each kit.

Kits in the side stream, and kits that only read frozen features, answer one image by the shared
backbone: in float32 by torch, and in int8 by OpenVINO as split exports with one prefix
(`moekit export --split`). Next to them stand EfficientNet-Lite0 in int8 by OpenVINO, with the same
head on their pooled features and each with weights of its own. All run in turn in one process. Time
is processor time of all threads, which leaves out what else the machine does. Memory is the peak of
a process for each, less that of a process that holds neither.

`kits.break_even` is the number of kits in the side stream, in int8, from which sharing takes less
time than networks. The time of k kits is a line through the figures of 1 and 16 kits, that of k
networks is k times one. It is null if a kit that is added costs more than a network.
`MOEKIT_BENCH_NETWORKS=FOLDER` keeps the quantised networks.
"""

import math
import os
import subprocess
import time
from pathlib import Path

import pytest
import torch

from moekit import Registry
from moekit.bench.kits import kit_calls
from moekit.bench.timing import compare
from moekit.export.together import compute_exports
from moekit.jobs.session import open_backbone
from moekit.testing.child import child_command, child_environment
from tests.benchmarks.dedicated import (
    MODEL,
    SHARED,
    open_networks,
    shared_kits,
    spec_of,
    write_networks,
)
from tests.benchmarks.lite0 import need_lite0
from tests.benchmarks.split_kits import SPLIT, Exports
from tests.benchmarks.task_runs import TINY

pytestmark = pytest.mark.bench
COMMAND = "make bench (tests/benchmarks/test_dedicated.py)"
ROOT = Path(__file__).parents[2]
COUNTS, KITS, CALIBRATION = (1, 8, 16), 8, 8
NETWORKS = "8 networks"
SIDE, SECONDS = (56, 1.0) if TINY else (224, 120.0)


def test_from_how_many_kits_on_sharing_pays(tmp_path, record, record_figure):
    need_lite0()
    pytest.importorskip("nncf", reason="needs the extra `export`")
    folder = Path(os.environ.get("MOEKIT_BENCH_NETWORKS", tmp_path))
    if not (folder / f"{MODEL}-{KITS - 1}.xml").is_file():
        write_networks(folder, KITS, SIDE)
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(1, 3, SIDE, SIDE, generator=generator) for _ in range(2)]
    networks = open_networks(folder, KITS)
    arrays = [image.numpy() for image in inputs]
    calls = {
        **in_float32(inputs),
        **in_int8(tmp_path, inputs),
        NETWORKS: lambda number: [one(arrays[number % 2]) for one in networks],
    }
    timings = compare(calls, baseline=NETWORKS, seconds=SECONDS, clock=time.process_time)
    forms = {
        f"{placement}, {arithmetic}": of_form(timings, placement, arithmetic)
        for placement in SHARED
        for arithmetic in ("float32", "int8")
    }
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
        "ratio_to_8_networks": {name: one.ratio for name, one in timings.items()},
        "quartiles": {name: (one.ratio_q25, one.ratio_q75) for name, one in timings.items()},
        "milliseconds": {name: one.milliseconds for name, one in timings.items()},
        "rounds": timings[NETWORKS].rounds,
        "forms": forms,
        "peak_bytes": memory,
    }
    record("dedicated", {"images": 1, "input": SIDE, **about, **figures})
    best = forms["side, int8"]
    record_figure(
        "kits8.over_dedicated",
        round(best["eight_over_eight_networks"], 2),
        command=COMMAND,
        memory_ratio_float32=round(own["kits"] / own["networks"], 2) if memory["kits"] else None,
        forms=forms,
        **about,
    )
    record_figure("kits.break_even", best["break_even"], command=COMMAND, **about)


def in_float32(inputs):
    """Calls of kits that share a backbone in torch."""
    backbone, found = open_backbone(device="cpu", weights="auto"), {}
    for placement in SHARED:
        kits = shared_kits(placement, max(COUNTS), backbone=backbone, registry=Registry())
        calls, _ = kit_calls(kits, inputs, COUNTS)
        found |= {f"{placement}, float32, {count}": calls[f"{count} kits"] for count in COUNTS}
    return found


def in_int8(folder, inputs):
    """Calls of split exports on one prefix."""
    found = {}
    depth = len(open_backbone(device="cpu", weights="auto").blocks)
    for placement in SHARED:
        spec = spec_of(placement, Registry(), depth=depth)
        made = Exports(folder / placement, spec, side=SIDE, images=CALIBRATION, ways=(SPLIT,))
        kits = made.opened(SPLIT, max(COUNTS))

        def call(some):
            return lambda number: compute_exports(some, inputs[number % 2], {})

        for count in COUNTS:
            found[f"{placement}, int8, {count}"] = call(dict(list(kits.items())[:count]))
    return found


def of_form(timings, placement, arithmetic):
    """What kits of a form cost, in networks, and from how many on sharing takes less."""
    one, eight, many = (
        timings[f"{placement}, {arithmetic}, {count}"].ratio * KITS for count in COUNTS
    )
    more = (many - one) / (max(COUNTS) - 1)
    even = math.ceil((one - more) / (1 - more)) if more < 1 else None
    return {
        "first_kit_in_networks": one,
        "kit_more_in_networks": more,
        "eight_over_eight_networks": eight / KITS,
        "break_even": even,
    }


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

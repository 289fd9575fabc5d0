"""Kits that answer one image together, next to one kit by itself: time and peak memory.

Kits like the industrial one with random weights, on which time does not depend: specialists in the
last three blocks, in the last two, in the last three of the side stream, and a head only. All
candidates run in turn in one process; a figure is the median of ratios within a round. It takes
about five minutes on two quiet cores. With `OMP_NUM_THREADS=1` the time is processor time, which
leaves out what else the machine does.
"""

import os

import pytest
import torch

from moekit import Registry
from moekit.bench.kits import ALONE, PLACEMENTS, kit_calls, peak_bytes, placed, seeded_kits
from moekit.bench.timing import compare
from moekit.jobs.session import open_backbone
from tests.benchmarks.conftest import measured_before
from tests.benchmarks.task_runs import TINY

pytestmark = pytest.mark.bench
MOST = {"last3": 3.0, "last2": 2.4, "side": 1.6, "frozen": 1.6}
"""Times one kit's time, of eight kits."""
MOST_MEMORY = 1.5
COUNTS = (1, 2, 4, 8, 16)
SIDE, SECONDS = (56, 1.0) if TINY else (224, 70.0)
COMMAND = "make bench (tests/benchmarks/test_kits.py)"


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_eight_kits_together_cost_little_more_than_one(placement, record, record_figure):
    registry, backbone = Registry(), open_backbone(device="cpu", weights="auto")
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(1, 3, SIDE, SIDE, generator=generator) for _ in range(2)]
    own, where = PLACEMENTS[placement]
    industrial, depth = registry.kit("industrial"), len(backbone.blocks)
    spec = placed(industrial, depth=depth, own=own, placement=where)
    made = {"backbone": backbone, "registry": registry, "arithmetic": "fp32"}
    memory = peaks(seeded_kits(spec, 1, **made), inputs, count=1)
    kits = seeded_kits(spec, max(COUNTS), **made)
    memory |= peaks(dict(list(kits.items())[:8]), inputs, count=8)
    calls, expected = kit_calls(kits, inputs, COUNTS)
    timings = compare(calls, baseline=ALONE, seconds=SECONDS)
    eight = timings["8 kits"]
    found = {
        "ratio": {name: timing.ratio for name, timing in timings.items()},
        "quartiles": {name: (one.ratio_q25, one.ratio_q75) for name, one in timings.items()},
        "by_arithmetic": expected,
        "one_kit_ms": timings[ALONE].milliseconds,
        "rounds": timings[ALONE].rounds,
        "peak_bytes": memory,
        "threads": torch.get_num_threads(),
    }
    about = {"images": 1, "input": SIDE}
    record(
        "kits",
        {
            **about,
            "placements": {**measured_before("kits").get("placements", {}), placement: found},
        },
    )
    record_figure(
        f"kits8.{placement}",
        round(eight.ratio, 3),
        command=f"{COMMAND}, -k {placement}",
        quartiles=[round(eight.ratio_q25, 3), round(eight.ratio_q75, 3)],
        by_arithmetic=round(expected["8 kits"], 3),
        memory_ratio=round(memory["8 kits"] / memory["1 kits"], 3) if memory else None,
        threads=torch.get_num_threads(),
        load_average=os.getloadavg()[0],
    )
    assert not memory or memory["8 kits"] <= MOST_MEMORY * memory["1 kits"]
    assert TINY or eight.ratio <= MOST[placement]


def peaks(kits, inputs, *, count):
    """The peak memory of a process that holds these kits, and answers by all of them."""
    calls, _ = kit_calls(kits, inputs, (count,))
    name = f"{count} kits"
    calls[name](0)
    peak = peak_bytes(lambda: calls[name](1))
    return {} if peak is None else {name: peak}

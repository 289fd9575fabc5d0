"""The backbone with a share of its tokens computed, next to all of them: time, one image.

Tokens skip from block 2 on. All shares run in turn in one process; a figure is the median of the
ratios within a round. With one thread the time is processor time, with two it is time on the wall,
so the machine must be quiet. It takes about ten minutes.
"""

import os

import pytest
import torch

from moekit.bench.suite import Plan, run_benchmarks
from moekit.moe.instructions import cpu_computes_bf16
from tests.benchmarks.task_runs import TINY

pytestmark = pytest.mark.bench
COMMAND = "python -m pytest -m bench -s tests/benchmarks/test_tokens.py"
SHARES = (0.2, 0.35, 0.5, 0.7)
LEAST = {512: 2.5, 1024: 3.0}
"""Times as fast as the dense backbone at a share of 0.35, by the side of the image."""


def test_a_third_of_the_tokens_takes_a_third_of_the_time(record, record_figure):
    plan = Plan(
        dtypes=("fp32", "bf16") if cpu_computes_bf16() else ("fp32",),
        threads=(1, 2),
        seconds=1.0 if TINY else 60.0,
        token_sides=(112,) if TINY else tuple(LEAST),
        token_shares=SHARES,
    )
    rows = run_benchmarks(("tokens",), plan, print)["tokens"]
    record("tokens", {"rows": rows, "load_average": os.getloadavg()[0]})
    at_share = [row for row in rows if row["name"] == "keep 0.35"]
    for side, least in LEAST.items():
        found = [row for row in at_share if abs(row["side"] - side) < 14]
        if not found:
            continue
        slowest = max(found, key=lambda row: row["ratio"])
        record_figure(
            f"tokens.encoder_{side}",
            round(1 / slowest["ratio"], 3),
            command=COMMAND,
            slowest={key: slowest[key] for key in ("dtype", "threads", "side")},
            quartiles=[round(1 / slowest[key], 3) for key in ("ratio_q75", "ratio_q25")],
            all_settings={
                f"{row['dtype']}, {row['threads']} threads": round(1 / row["ratio"], 3)
                for row in found
            },
            cpu_capability=torch.backends.cpu.get_cpu_capability(),
            load_average=os.getloadavg()[0],
        )
        assert TINY or 1 / slowest["ratio"] >= least

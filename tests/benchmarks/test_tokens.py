"""The backbone with a share of its tokens computed, next to all of them: time, one image.

Tokens skip from block 2 on. All shares run in turn in one process; a figure is the median of the
ratios within a round. With one thread the time is processor time, with two it is time on the wall,
so the machine must be quiet. It takes about ten minutes.

The probe says how much features lose: see `token_probe`. It takes about five minutes.
"""

import os

import pytest
import torch

from moekit import ForegroundTokenGate, TextureTokenGate, TokenRouting, build_backbone
from moekit.bench.suite import Plan, run_benchmarks
from moekit.moe.instructions import cpu_computes_bf16
from tests.benchmarks.task_runs import TINY
from tests.benchmarks.token_probe import RandomTokenGate, frames, probe

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


WAYS = {
    "all": None,
    "skip, texture": {"gate": TextureTokenGate(), "share": 0.35},
    "skip, foreground": {"gate": ForegroundTokenGate(), "share": 0.35},
    "skip, random": {"gate": RandomTokenGate(), "share": 0.35},
    "merge 2 x 2, texture": {"gate": TextureTokenGate(), "share": 0.13, "window": 2},
    "merge 2 x 2, random": {"gate": RandomTokenGate(), "share": 0.13, "window": 2},
    "merge 2 x 2, all but one": {"gate": TextureTokenGate(), "share": 0.001, "window": 2},
    "merge 3 x 3, texture": {"gate": TextureTokenGate(), "share": 0.27, "window": 3},
}
"""About a third of the tokens is computed in each, but for the first and the last but one."""


def test_windows_that_are_merged_keep_more_than_tokens_that_skip(shared, record):
    folder = shared / "data" / "camvid"
    backbone = build_backbone()
    train, test = frames(folder, "train", 3)[:60], frames(folder, "val", 3)
    if TINY:
        train, test = train[:3], test[:2]
    found = {}
    for block in (2, 4):
        for name, way in WAYS.items():
            if way is None and block > 2:
                continue
            routing = None if way is None else TokenRouting(block=block, **way)
            one = probe(backbone, folder, train=train, test=test, routing=routing)
            found[f"{name}, from block {block}" if way else name] = vars(one)
    record("token_probe", {"train": len(train), "test": len(test), "ways": found})
    merged, skipped = (found[f"{name}, texture, from block 2"] for name in ("merge 2 x 2", "skip"))
    assert TINY or merged["miou"] > skipped["miou"]
    assert TINY or merged["share"] <= skipped["share"] + 0.01

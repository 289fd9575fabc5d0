"""The backbone with a share of its tokens computed, next to all of them: time, one image.

Tokens skip from block 2 on; the smaller side is measured from block 1 on too. All candidates run in
turn in one process; a figure is the median of the ratios within a round. With one thread the time
is processor time. With two it is time on the wall, so two are measured on a quiet machine only.
`moekit bench tokens` measures other shares.

The probe says how much features lose: see `token_probe`. It takes about twelve minutes of one
thread.
"""

import dataclasses
import os
import sys

import pytest
import torch

from moekit import Sample, TextureTokenGate, TokenRouting, build_backbone
from moekit.bench.suite import Plan, run_benchmarks
from moekit.data.content import Contents
from moekit.moe.instructions import cpu_computes_bf16
from moekit.moe.learned_token_gate import LearnedTokenGate
from moekit.runtime.device import pick_arithmetic
from moekit.training.token_gate import Teaching, teach
from tests.benchmarks.probe_sets import camvid, grid_at, large_pictures, reading
from tests.benchmarks.task_runs import TINY
from tests.benchmarks.token_probe import RandomTokenGate, probe, share_at

pytestmark = pytest.mark.bench
COMMAND = "python -m pytest -m bench -s tests/benchmarks/test_tokens.py"
SHARES = (0.35,)
QUIET = 0.5
"""The greatest load at which the clock says something."""
LEAST = {512: 2.5, 1024: 3.0}
"""Times as fast as the dense backbone at a share of 0.35, by the side of the image."""


def test_a_third_of_the_tokens_takes_a_third_of_the_time(record, record_figure):
    plan = Plan(
        dtypes=("fp32", "bf16") if cpu_computes_bf16() else ("fp32",),
        threads=(1, 2) if os.getloadavg()[0] < QUIET else (1,),
        seconds=1.0 if TINY else 60.0,
        token_sides=(112,) if TINY else tuple(LEAST),
        token_shares=SHARES,
    )
    earlier = dataclasses.replace(plan, token_sides=plan.token_sides[:1], token_block=1)
    rows = run_benchmarks(("tokens",), plan, print)["tokens"]
    from_1 = run_benchmarks(("tokens",), earlier, print)["tokens"]
    record("tokens", {"rows": rows, "from_block_1": from_1, "load_average": os.getloadavg()[0]})
    reached = keep_encoder(rows, from_1, record_figure)
    assert TINY or all(found >= LEAST[side] for side, found in reached.items())


def keep_encoder(rows, from_1, record_figure):
    """Records the slowest setting of each side, and returns its speed."""
    reached = {}
    from_1 = [row for row in from_1 if row["name"] == "keep 0.35"]
    at_share = [row for row in rows if row["name"] == "keep 0.35"]
    for side in LEAST:
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
            all_settings=speeds(found),
            from_block_1=speeds([row for row in from_1 if abs(row["side"] - side) < 14]),
            cpu_capability=torch.backends.cpu.get_cpu_capability(),
            load_average=os.getloadavg()[0],
        )
        reached[side] = 1 / slowest["ratio"]
    return reached


def speeds(rows):
    """Times as fast as the dense backbone, by setting."""
    return {f"{row['dtype']}, {row['threads']} threads": round(1 / row["ratio"], 3) for row in rows}


TIMES = 3.0
BLOCKS = {490: (0, 1, 2), 1022: (0,)}
"""First blocks that are routed, by the width of the input. The pictures have 480 columns, so the
second shows them enlarged; later blocks lost more there on frames to choose by."""
FIT, CHOOSE, JUDGE, TEACH = (2, 2, 2, 5) if TINY else (8, 5, 16, 6)
"""Pictures: to fit the probe, to choose a way, to judge it, and to teach the learned gate."""


def ways_at(backbone, of, width, arithmetic):
    """Ways with a third of the dense backbone's arithmetic, and how well the gate has learned."""
    grid = grid_at(backbone, width)
    gates = {"texture": TextureTokenGate(), "random": RandomTokenGate()}
    gates["learned"], facts = taught(backbone, of, width, arithmetic)
    asked = [("texture", block, window) for block in BLOCKS[width] for window in (2, None)]
    asked += [("learned", 0, 2), ("random", 0, 2)]
    ways = {"all": None}
    for gate, block, window in asked:
        share = share_at(backbone, grid, times=TIMES, block=block, window=window)
        if share > 0:
            name = f"{'skip' if window is None else 'merge 2 x 2'}, {gate}, from block {block}"
            ways[name] = TokenRouting(gate=gates[gate], block=block, share=share, window=window)
    return ways, facts


def taught(backbone, of, width, arithmetic):
    """The learned gate, trained on pictures that the probe may see, and how well it did."""
    torch.manual_seed(0)
    gate = LearnedTokenGate(backbone.width)
    facts = teach(
        gate,
        Teaching(
            samples=[
                Sample(id=one.image.stem, path=one.image, label=0) for one in of.some("fit", TEACH)
            ],
            preprocess=reading(backbone, width),
            backbone=backbone,
            routing=TokenRouting(gate=gate, block=0, share=0.5, window=2),
            arithmetic=arithmetic,
            top_k=backbone.top_k,
            seed=0,
            contents=Contents(),
        ),
        on_progress=lambda *_: None,
    )
    return gate, facts


def lost_by_merging(of, width, *, fit, judge):
    """What merging at a third of the arithmetic loses: a record, the loss and its interval.

    The way is chosen on pictures of the training split; the figure is of others.
    """
    backbone = build_backbone()
    arithmetic = pick_arithmetic("auto", torch.device("cpu"))
    ways, learned = ways_at(backbone, of, width, arithmetic)
    found = probe(
        backbone,
        of,
        width=width,
        arithmetic=arithmetic,
        fit=of.some("fit", fit),
        judged={"choose": of.some("choose", CHOOSE), "val": of.some("val", judge)},
        ways=ways,
        told=lambda line: sys.stderr.write(f"{line}\n"),
    )
    merging = [name for name in ways if "merge" in name and "random" not in name]
    best = max(merging, key=lambda name: found["choose"][name].miou)
    facts = {
        "pictures": {"fit": fit, "choose": CHOOSE, "val": judge, "teach": TEACH},
        "arithmetic": arithmetic,
        "learned_gate": learned,
        "chosen": best,
    }
    tables = {
        split: {name: facts_of(one, by_way["all"]) for name, one in by_way.items()}
        for split, by_way in found.items()
    }
    return {**facts, "by": tables}, found["val"][best].loss_to(found["val"]["all"])


@pytest.mark.parametrize("width", list(BLOCKS)[: 1 if TINY else None])
def test_merging_at_three_times_the_speed_keeps_the_features(width, shared, record, record_figure):
    facts, lost = lost_by_merging(camvid(shared / "data"), width, fit=FIT, judge=JUDGE)
    record(f"token_probe_{width}", facts)
    if width == max(BLOCKS):
        del facts["by"]
        keep_loss(record_figure, "camvid.miou_loss_tokens", lost, width=width, **facts)
        assert lost[0] <= 1


def test_merging_keeps_the_features_of_large_pictures(shared, record, record_figure):
    """Printed parts and plants; the figure is that of the set that loses more."""
    width = min(BLOCKS) if TINY else max(BLOCKS)
    found = {}
    for name in ("print3d", "cwfid"):
        of = large_pictures(shared / "data", name)
        found[name] = lost_by_merging(of, width, fit=2 * FIT, judge=len(of.of_split["val"]))
        record(f"token_probe_{name}", found[name][0])
    worst = max(found, key=lambda name: found[name][1][0])
    losses = {name: [round(value, 3) for value in lost] for name, (_, lost) in found.items()}
    keep_loss(
        record_figure, "hires.miou_loss", found[worst][1], width=width, set=worst, by_set=losses
    )
    assert TINY or found[worst][1][0] <= 1


def keep_loss(record_figure, key, lost, **facts):
    loss, low, high = (round(value, 3) for value in lost)
    record_figure(
        key,
        loss,
        command=COMMAND,
        ci95=(low, high),
        seeds=(0,),
        **facts,
        note="points of mIoU of a linear probe of patches; below 0 is a gain",
    )


def facts_of(one, dense):
    """A row of the table."""
    return {
        "miou": round(one.miou, 2),
        "loss": [round(value, 2) for value in one.loss_to(dense)],
        "share": round(one.share, 4),
        "ratio": round(one.ratio, 4),
    }

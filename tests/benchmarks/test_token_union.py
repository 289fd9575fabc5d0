"""What several kits together ask for, and tokens from file to row.

Each kit would have a gate of its own, taught without labels on pictures of its own set. On pictures
of all sets the union of what 2, 4 and 8 such gates ask for is counted, and a pass is timed that
computes that number of patches. From file to row, `predict` is timed with all tokens and with few:
reading, resizing, overlays and writing included. Times are processor time of one thread, in turn.
"""

import itertools
import os
import statistics
from importlib.resources import files
from pathlib import Path

import pytest
import torch

from moekit import Frame, Registry, Sample, TextureTokenGate, TokenRouting, build_backbone
from moekit.bench.timing import compare, threads
from moekit.data import Preprocess
from moekit.data.content import Contents
from moekit.moe.learned_token_gate import LearnedTokenGate
from moekit.prediction.inputs import collect_inputs
from moekit.prediction.predict import predict
from moekit.runtime import KitModules, Predictor, resolve
from moekit.runtime.answerer import Answerer
from moekit.tasks.score import OperatingPoint
from moekit.training.token_gate import Teaching, teach
from tests.benchmarks.task_runs import TINY

pytestmark = pytest.mark.bench
COMMAND = "python -m pytest -m bench -s tests/benchmarks/test_token_union.py"
SETS = {
    "camvid": "images/*.jpg",
    "magnetic_tile": "**/*.jpg",
    "luna16_candidates": "images/*.jpg",
    "grocery": "images/*.jpg",
    "mvtec_screw": "train/**/*.png",
    "bccd": "images/*.jpg",
    "deeppcb": "images/*.jpg",
    "coco128": "images/*.jpg",
}
KITS = (2, 4, 8)
SIDE, SHARE, WINDOW, BLOCK = 224, 0.35, 2, 0
TEACH, JUDGE = (2, 1) if TINY else (10, 2)
"""Pictures of each set that its gate learns from, and of each that all gates are asked about."""
SECONDS = 1.0 if TINY else 30.0
IMAGES, BATCH = (4, 2) if TINY else (16, 8)


def routing(gate, share):
    return TokenRouting(gate=gate, block=BLOCK, share=share, window=WINDOW)


def reading(backbone):
    return Preprocess(size=SIDE, mean=backbone.mean, std=backbone.std)


def taught(backbone, names):
    """A gate that has learned on some pictures."""
    torch.manual_seed(0)
    gate = LearnedTokenGate(backbone.width)
    teach(
        gate,
        Teaching(
            samples=[Sample(id=one.name, path=one, label=0) for one in names],
            preprocess=reading(backbone),
            backbone=backbone,
            routing=routing(gate, SHARE),
            arithmetic="fp32",
            top_k=backbone.top_k,
            seed=0,
            contents=Contents(),
        ),
        on_progress=lambda *_: None,
    )
    return gate.eval()


@torch.inference_mode()
def asked_for(backbone, gate, paths):
    """(pictures, patches) bool: what a gate would compute one by one."""
    read = reading(backbone)
    kept = []
    for path in paths:
        images = read(path)[None]
        x_BND, grid = backbone.embed(images)
        chosen = routing(gate, SHARE).choose(x_BND, grid, images)
        kept.append(chosen.kept_BN[0, backbone.prefix_tokens :])
    return torch.stack(kept)


@torch.inference_mode()
def times_as_fast(backbone, share):
    """A pass that computes a share of the patches one by one, next to one that computes all."""
    images = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    few = routing(TextureTokenGate(), min(share, 1.0))
    calls = {
        "dense": lambda _: backbone(images),
        "few": lambda _: backbone(images, tokens=few),
    }
    with threads(1):
        found = compare(calls, baseline="dense", seconds=SECONDS / 6)["few"]
    return [1 / found.ratio, 1 / found.ratio_q75, 1 / found.ratio_q25]


def test_eight_kits_that_choose_alone_ask_for_most_of_a_picture(shared, record, record_figure):
    backbone = build_backbone()
    found = {name: sorted((shared / "data" / name).glob(glob)) for name, glob in SETS.items()}
    gates = {name: taught(backbone, paths[:TEACH]) for name, paths in found.items()}
    judged = [path for paths in found.values() for path in paths[-JUDGE:]]
    kept = torch.stack([asked_for(backbone, gate, judged) for gate in gates.values()])
    union = {
        kits: statistics.mean(
            float(kept[list(some)].any(0).float().mean())
            for some in itertools.combinations(range(len(SETS)), kits)
        )
        for kits in KITS
    }
    speeds = {share: times_as_fast(backbone, share) for share in (SHARE, *union.values())}
    rows = {
        kits: {"share": round(share, 4), "times_as_fast": speeds[share]}
        for kits, share in union.items()
    }
    facts = {
        "one_kit": {"share": SHARE, "times_as_fast": speeds[SHARE]},
        "kits": rows,
        "pictures": len(judged),
        "taught_on": TEACH,
        "side": SIDE,
        "block": BLOCK,
        "window": WINDOW,
        "precision": "fp32, one thread",
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "load_average": os.getloadavg()[0],
    }
    record("token_union", facts)
    record_figure("tokens.union_8kits", rows[8]["share"], command=COMMAND, seeds=(0,), **facts)
    assert union[2] < union[4] < union[8]


def answerer(backbone, registry, tokens):
    """The industrial kit, not trained: what it says makes no difference to the time."""
    spec = registry.kit("industrial")
    kit = KitModules(spec=spec, registry=registry, backbone=backbone)
    resolved, frame = resolve(spec, registry), Frame(height=SIDE, width=SIDE)
    return Answerer(
        compute=Predictor(
            backbone=backbone,
            kit=kit,
            baseline=None,
            task=resolved.task,
            arithmetic="fp32",
            tokens=None
            if tokens is None
            else TokenRouting(
                gate=TextureTokenGate(),
                block=BLOCK,
                share=tokens,
                window=WINDOW,
                until=kit.prefix_end,
            ),
        ),
        preprocess=reading(backbone),
        task=resolved.task,
        context=resolved.context(classes=("good", "defective"), frame=frame),
        point=OperatingPoint(threshold=0.5, rule="given", split="val", n=0, value=0.0),
    )


def test_few_tokens_are_faster_from_file_to_row_too(tmp_path, record, record_figure):
    backbone, registry = build_backbone(), Registry()
    folder = Path(str(files("elpv_dataset"))) / "data" / "images"
    inputs = collect_inputs(sorted(folder.glob("*.png"))[:IMAGES])
    shares = (0.02, 0.2, SHARE)
    ways = {"dense": answerer(backbone, registry, None)}
    ways |= {f"{share:g}": answerer(backbone, registry, share) for share in shares}
    ready = torch.stack([ways["dense"].preprocess(path) for _, path in inputs[:BATCH]])
    turn = itertools.count()

    def whole(way):
        def call(_):
            predict(
                inputs,
                answerer=way,
                provenance={"benchmark": True},
                out=tmp_path / str(next(turn)),
                batch_size=BATCH,
                on_progress=lambda *_: None,
            )

        return call

    def bare(way):
        return lambda _: way.compute(ready)

    with threads(1):
        files_to_rows = compare(
            {name: whole(way) for name, way in ways.items()}, baseline="dense", seconds=SECONDS
        )
        passes = compare(
            {name: bare(way) for name, way in ways.items()}, baseline="dense", seconds=SECONDS / 2
        )
    rows = {
        name: {
            "file_to_row": 1 / files_to_rows[name].ratio,
            "quartiles": [1 / files_to_rows[name].ratio_q75, 1 / files_to_rows[name].ratio_q25],
            "pass": 1 / passes[name].ratio,
        }
        for name in ways
        if name != "dense"
    }
    facts = {
        "images": IMAGES,
        "batch": BATCH,
        "side": SIDE,
        "kit": "industrial, not trained",
        "block": BLOCK,
        "window": WINDOW,
        "precision": "fp32, one thread",
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "load_average": os.getloadavg()[0],
    }
    record("token_end_to_end", {**facts, "by_share": rows})
    record_figure(
        "tokens.end_to_end",
        round(rows["0.2"]["file_to_row"], 3),
        command=COMMAND,
        seeds=(0,),
        by_share=rows,
        **facts,
    )
    assert TINY or rows["0.2"]["file_to_row"] > 1

"""The benchmarks: layer, scaling, the backbone at each top_k, kits, and tokens that skip.

Shapes: B images, N tokens, D width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from moekit.backbone.build import build_backbone, build_dense
from moekit.backbone.features import Features
from moekit.backbone.sources import DEFAULT_ARCHITECTURE, find_weights
from moekit.bench.kits import (
    ALONE,
    PLACEMENTS,
    kit_calls,
    kit_with_specialists,
    placed,
    run_calls,
    seeded_kits,
)
from moekit.bench.peers import Forward, LayerSize, dense_ffn, layer_candidates, moe_layer
from moekit.bench.timing import Call, Timing, compare, threads
from moekit.bench.tokens import token_candidates
from moekit.errors import UsageError
from moekit.moe.gates import UnitTopK
from moekit.plugins.registry import Registry
from moekit.runtime.device import Arithmetic, autocast
from moekit.runtime.runtime import Runtime

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
_INPUTS, _STEP = 64, 32
_IMAGE_TOKENS = 196


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What to measure.

    Attributes:
        dtypes: Of the arithmetic: keys of `DTYPES`.
        threads: Numbers of threads.
        seconds: For each comparison, all candidates together.
        size: Of the layer.
        tokens: Tokens of the layer's inputs.
        experts: Numbers of experts into which the same FFN is cut, a quarter of them chosen.
        batches: Images of 196 tokens.
        top_ks: Of the backbone.
        image_size: Side of the backbone's images.
        images: Batch of the backbone.
        architecture: Of the backbone.
        weights: Their source.
        kits: Numbers of kits that answer together.
        kit_images: Batch that they answer.
        runs: Folders of the runs whose kits are measured; kits with random weights in each
            placement if there are none.
        most_kits: Most kits of runs that lie in memory; None for all.
        token_sides: Sides of the images of which tokens skip, rounded to whole patches.
        token_shares: Shares of the patches that are computed.
        token_block: The first block that a token may skip.
        token_window: Side of the windows by which tokens are merged, in patches.
    """

    dtypes: tuple[str, ...] = ("fp32", "bf16")
    threads: tuple[int, ...] = (1,)
    seconds: float = 2.0
    size: LayerSize = dataclasses.field(default_factory=LayerSize)
    tokens: tuple[int, ...] = (196, 256, 1024, 2048, 8192)
    experts: tuple[int, ...] = (4, 8, 16, 32, 64)
    batches: tuple[int, ...] = (1, 2, 4, 8, 16)
    top_ks: tuple[int, ...] = (1, 2, 4, 8, 12, 16)
    image_size: int = 224
    images: int = 8
    architecture: str = DEFAULT_ARCHITECTURE
    weights: str = "auto"
    kits: tuple[int, ...] = (1, 2, 4, 8, 16)
    kit_images: int = 1
    runs: tuple[Path, ...] = ()
    most_kits: int | None = None
    token_sides: tuple[int, ...] = (512,)
    token_shares: tuple[float, ...] = (0.2, 0.35, 0.5, 0.7)
    token_block: int = 2
    token_window: int = 2


Row = dict[str, Any]
Tell = Callable[[str], None]
Benchmark = Callable[[Plan, Tell], list[Row]]


def layer(plan: Plan, tell: Tell) -> list[Row]:
    """The MoE layer next to a dense FFN of the same active arithmetic, all experts, and peers."""
    rows: list[Row] = []
    for dtype, count in _settings(plan):
        for tokens in plan.tokens:
            candidates = layer_candidates(plan.size, DTYPES[dtype], tokens)
            inputs = _inputs(tokens, plan.size.width, DTYPES[dtype])
            setting = {"dtype": dtype, "threads": count, "tokens": tokens}
            rows += _measure(candidates, inputs, setting, plan, tell)
    return rows


def scaling(plan: Plan, tell: Tell) -> list[Row]:
    """The MoE layer next to the dense FFN as experts and images become more."""
    rows: list[Row] = []
    for dtype, count in _settings(plan):
        cases = [("batch", images, plan.size, images * _IMAGE_TOKENS) for images in plan.batches]
        neurons = plan.size.experts * plan.size.hidden
        for experts in plan.experts:
            top_k, hidden = max(experts // 4, 1), neurons // experts
            size = dataclasses.replace(plan.size, experts=experts, hidden=hidden, top_k=top_k)
            cases.append(("experts", experts, size, max(plan.batches) * _IMAGE_TOKENS))
        for series, at, size, tokens in cases:
            candidates = {
                "dense": dense_ffn(size.width, size.top_k * size.hidden, DTYPES[dtype]),
                "moekit": moe_layer(size, DTYPES[dtype], UnitTopK()),
            }
            setting = {"dtype": dtype, "threads": count, "series": series, "at": at}
            inputs = _inputs(tokens, size.width, DTYPES[dtype])
            rows += _measure(candidates, inputs, {**setting, "tokens": tokens}, plan, tell)
    return rows


def backbone(plan: Plan, tell: Tell) -> list[Row]:
    """The whole backbone at each top_k next to the dense timm model that it was carved from."""
    rows: list[Row] = []
    for dtype, count in _settings(plan):
        candidates = _backbones(plan, dtype)
        generator = torch.Generator().manual_seed(0)
        shape = (plan.images, 3, plan.image_size, plan.image_size)
        inputs = [torch.randn(shape, generator=generator) for _ in range(2)]
        setting = {"dtype": dtype, "threads": count, "images": plan.images}
        rows += _measure(candidates, inputs, setting, plan, tell)
    return rows


def kits(plan: Plan, tell: Tell) -> list[Row]:
    """Several kits that answer together next to one kit by itself, by where their specialists lie.

    In the placement `last3` a kit has specialists in the last three blocks, and so on; in `side`
    they act next to the trunk; `frozen` has a head only. The ratios are to one kit, and `expected`
    is the ratio by arithmetic.
    """
    registry = Registry()
    carved = build_backbone(plan.architecture, weights=plan.weights)
    spec = kit_with_specialists(registry)
    if spec is None and not plan.runs:
        tell("kits: no kit with specialists is installed")
        return []
    generator = torch.Generator().manual_seed(0)
    shape = (plan.kit_images, 3, plan.image_size, plan.image_size)
    inputs = [torch.randn(shape, generator=generator) for _ in range(2)]
    rows: list[Row] = []
    for dtype, count in _settings(plan):
        setting = {"dtype": dtype, "threads": count, "images": plan.kit_images}
        if plan.runs:
            runtime = Runtime(carved, registry=registry, most_kits=plan.most_kits)
            made = run_calls(plan.runs, plan.kits, runtime=runtime)
            rows += _measure_kits(*made, {**setting, "placement": "as trained"}, plan, tell)
            continue
        assert spec is not None
        for placement, (own, where) in PLACEMENTS.items():
            predictors = seeded_kits(
                placed(spec, depth=len(carved.blocks), own=own, placement=where),
                max(plan.kits),
                backbone=carved,
                registry=registry,
                arithmetic="bf16" if dtype == "bf16" else "fp32",
            )
            made = kit_calls(predictors, inputs, plan.kits)
            rows += _measure_kits(*made, {**setting, "placement": placement}, plan, tell)
    return rows


def tokens(plan: Plan, tell: Tell) -> list[Row]:
    """The backbone with a share of the patches computed, next to all of them, for one image."""
    carved = build_backbone(plan.architecture, weights=plan.weights)
    generator = torch.Generator().manual_seed(0)
    rows: list[Row] = []
    for dtype, count in _settings(plan):
        candidates = token_candidates(
            carved,
            plan.token_shares,
            block=plan.token_block,
            window=plan.token_window,
            arithmetic="bf16" if dtype == "bf16" else "fp32",
        )
        for asked in plan.token_sides:
            side = max(1, round(asked / carved.patch)) * carved.patch
            inputs = [torch.randn(1, 3, side, side, generator=generator) for _ in range(2)]
            setting = {
                "dtype": dtype,
                "threads": count,
                "side": side,
                "block": plan.token_block,
                "window": plan.token_window,
            }
            rows += _measure(candidates, inputs, setting, plan, tell)
    return rows


BENCHMARKS: Mapping[str, Benchmark] = {
    "layer": layer,
    "scaling": scaling,
    "backbone": backbone,
    "kits": kits,
    "tokens": tokens,
}


def run_benchmarks(names: tuple[str, ...], plan: Plan, tell: Tell) -> dict[str, list[Row]]:
    """Runs benchmarks by name, all of them if none is named.

    Args:
        names: Keys of `BENCHMARKS`.
        plan: What to measure.
        tell: Called with a line of progress after each comparison.

    Returns:
        Rows by benchmark. Each has its setting, the candidate's `name`, and the fields of
        `moekit.bench.timing.Timing`; the ratios are to `dense`, of kits to one kit, in the same
        round.

    Raises:
        UsageError: There is no benchmark of a name.
        WeightsError: The backbone's weights are missing.
    """
    for name in names:
        if name not in BENCHMARKS:
            raise UsageError(
                f"there is no benchmark {name!r}",
                whose="NAME",
                fix=f"choose from {', '.join(BENCHMARKS)}",
                code="usage/unknown-name",
            )
    return {name: BENCHMARKS[name](plan, tell) for name in names or BENCHMARKS}


def _settings(plan: Plan) -> list[tuple[str, int]]:
    return [(dtype, count) for dtype in plan.dtypes for count in plan.threads]


def _inputs(tokens: int, width: int, dtype: torch.dtype) -> list[Tensor]:
    """Many inputs, so that the load of the experts is another each time: windows on one table."""
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(1, tokens + _INPUTS * _STEP, width, generator=generator).to(dtype)
    return [table[:, first : first + tokens] for first in range(0, _INPUTS * _STEP, _STEP)]


@torch.inference_mode()
def _measure(
    candidates: Mapping[str, Forward], inputs: list[Tensor], setting: Row, plan: Plan, tell: Tell
) -> list[Row]:
    def call(forward: Forward) -> Callable[[int], object]:
        return lambda number: forward(inputs[number % len(inputs)])

    with threads(setting["threads"]):
        timings = compare(
            {name: call(forward) for name, forward in candidates.items()},
            baseline="dense",
            seconds=plan.seconds,
        )
    tell(_in_words(setting, timings, "dense"))
    return [
        {**setting, "name": name, **dataclasses.asdict(timing)} for name, timing in timings.items()
    ]


def _measure_kits(
    calls: Mapping[str, Call], expected: Mapping[str, float], setting: Row, plan: Plan, tell: Tell
) -> list[Row]:
    with threads(setting["threads"]):
        timings = compare(calls, baseline=ALONE, seconds=plan.seconds)
    tell(_in_words(setting, timings, ALONE))
    return [
        {**setting, "name": name, "expected": expected[name], **dataclasses.asdict(timing)}
        for name, timing in timings.items()
    ]


def _in_words(setting: Row, timings: Mapping[str, Timing], baseline: str) -> str:
    """A comparison in one line."""
    where = ", ".join(f"{key} {value}" for key, value in setting.items())
    found = ", ".join(
        f"{name} {timing.ratio:.2f} ({timing.ratio_q25:.2f} to {timing.ratio_q75:.2f})"
        for name, timing in timings.items()
        if name != baseline
    )
    return f"{where}: {found}"


def _backbones(plan: Plan, dtype: str) -> dict[str, Forward]:
    """The dense model and the backbone at each top_k, in the arithmetic that commands use."""
    file = find_weights(plan.architecture, plan.weights)
    dense = build_dense(plan.architecture, file).requires_grad_(False)
    carved = build_backbone(plan.architecture, weights=plan.weights)
    arithmetic: Arithmetic = "bf16" if dtype == "bf16" else "fp32"

    def at(top_k: int | None) -> Forward:
        def forward(images: Tensor) -> Tensor:
            with autocast(images.device, arithmetic):
                if top_k is None:
                    return cast(Tensor, dense.forward_features(images))
                carved.top_k = top_k
                return cast(Features, carved(images)).final_BND

        return forward

    return {"dense": at(None), **{f"top_k {top_k}": at(top_k) for top_k in plan.top_ks}}

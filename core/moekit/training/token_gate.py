"""A token gate that is trained in a run, by distillation from the frozen backbone.

The gate learns to foretell, of each patch, how much its features change if everything is merged (or
skips) that its routing allows: the squared difference of the normalised tokens behind the routed
blocks, as a logarithm. No label is read, and the backbone computes its own targets.

Shapes: B images (or the frames of stacks), N tokens, P patches, D width.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional

from moekit.backbone.model import MoEBackbone, frames_of
from moekit.data.content import Contents
from moekit.data.samples import Sample
from moekit.data.stream import Preprocess, image_batches
from moekit.errors import DataError
from moekit.moe.owned import owned
from moekit.moe.specialists import Grid
from moekit.moe.token_gates import TokenGate
from moekit.moe.tokens import TokenRouting
from moekit.ranks import rank_correlation
from moekit.runs.run import SELECTOR, Run
from moekit.runtime.device import Arithmetic, autocast
from moekit.runtime.tokens import learned_part, with_hash
from moekit.sealed import SEAL, read_sealed, write_sealed

_MOST_SAMPLES, _MOST_PATCHES = 64, 131_072
"""Samples that a gate learns from, and patches of them: memory and time do not grow further."""
_HELD_OUT = 5
"""One sample of this many judges the gate and teaches it nothing."""
_STEPS, _SAMPLES_A_STEP, _PATCHES_A_STEP, _RATE = 300, 8, 8192, 3e-3
_LEAST = 1e-6
"""Added to differences before their logarithm, in units of a normalised token's square."""
OnProgress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Teaching:
    """What a gate learns from.

    Attributes:
        samples: Of the training split, windows of large pictures.
        preprocess: How they are read.
        backbone: Computes the targets.
        routing: With the gate; None if there is none. Window and blocks decide what is lost.
        arithmetic: Arithmetic of the forward pass.
        top_k: Generic experts a token has.
        seed: Decides which samples are taken, and their order.
        contents: Hashes of the files.
    """

    samples: Sequence[Sample]
    preprocess: Preprocess
    backbone: MoEBackbone
    routing: TokenRouting | None
    arithmetic: Arithmetic
    top_k: int
    seed: int
    contents: Contents


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Lesson:
    """A sample: what a gate sees (of each frame), and what it is to say."""

    patch_BPD: Tensor
    picture: Tensor
    grid: Grid
    target_BP: Tensor
    known_BP: Tensor


def with_taught_gate(
    job: Teaching, *, run: Run, resume: bool, fabric: Fabric, on_progress: OnProgress
) -> tuple[TokenRouting | None, dict[str, Any]]:
    """The routing whose gate has learned, if it is one that learns; kept with the run.

    Args:
        job: What it learns from.
        run: Takes the weights, and what is known of them as soon as the gate has learned.
        resume: Whether to go on with what the run has of it.
        fabric: The first process trains.
        on_progress: As of `teach`.

    Returns:
        The routing, and facts for the run's record.

    Raises:
        DataError: No sample can be read.
        PluginError: The gate fails.
        WeightsError: What it has learned is not finite or was damaged.
    """
    module = learned_part(job.routing)
    if job.routing is None or module is None:
        return job.routing, {}
    known = run.checkpoints / f"{SELECTOR}.json"
    with fabric.rank_zero_first():
        if fabric.is_global_zero and not (resume and known.exists()):
            facts = teach(module.to(fabric.device), job, on_progress=on_progress)
            write_sealed(known, {"sha256": run.save_weights(SELECTOR, module), **facts})
    facts = read_sealed(known)
    facts.pop(SEAL, None)
    run.load_weights(SELECTOR, module, expected=facts["sha256"])
    module.to(fabric.device)
    return with_hash(job.routing, facts["sha256"]), {SELECTOR: facts}


def teach(gate: nn.Module, job: Teaching, *, on_progress: OnProgress) -> dict[str, Any]:
    """Trains a gate in place.

    Args:
        gate: Scores tokens, as a `TokenGate`.
        job: What it learns from, with a routing.
        on_progress: Called with the samples computed and their total.

    Returns:
        Facts for the record: how many samples, the seconds, and the correlation of ranks of its
        scores with the differences on samples that it has not learned from; None without such.

    Raises:
        DataError: No sample can be read.
        PluginError: The gate fails.
    """
    began = time.perf_counter()
    lessons = list(_lessons(job, on_progress))
    if not lessons:
        raise DataError(
            "no sample could be read that its token gate would learn from",
            whose="the training split",
            fix="check the files, or choose a token gate that learns nothing",
            code="data/empty-split",
        )
    held = lessons[_HELD_OUT - 1 :: _HELD_OUT]
    learned = [one for number, one in enumerate(lessons, start=1) if number % _HELD_OUT]
    whose = f"token gate {cast(TokenRouting, job.routing).gate_name}"
    gate.requires_grad_(True)
    with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad():
        torch.manual_seed(job.seed)
        owned(whose, lambda: _train(gate, learned))
    gate.eval().requires_grad_(False)
    return {
        "samples": len(learned),
        "rank_correlation": owned(whose, lambda: _correlation(gate, held)),
        "judged_on": len(held),
        "seconds": round(time.perf_counter() - began, 1),
    }


def _lessons(job: Teaching, on_progress: OnProgress) -> Iterator[_Lesson]:
    generator = torch.Generator().manual_seed(job.seed)
    order = torch.randperm(len(job.samples), generator=generator).tolist()
    frame, patch = job.preprocess.frame, job.backbone.patch
    patches = (frame.height // patch) * (frame.width // patch) * job.preprocess.frames
    count = max(1, min(len(order), _MOST_SAMPLES, _MOST_PATCHES // patches))
    chosen = [job.samples[place] for place in order[:count]]
    batches = image_batches(
        [(one.id, one.path) for one in chosen],
        job.preprocess,
        batch_size=1,
        windows=[one.window for one in chosen],
        contents=job.contents,
    )
    for done, batch in enumerate(batches, start=1):
        if len(batch.rows):
            yield _lesson(job, batch.images)
        on_progress(done, count)


@torch.no_grad()
def _lesson(job: Teaching, images: Tensor) -> _Lesson:
    backbone, routing = job.backbone, cast(TokenRouting, job.routing)
    images = images.to(next(backbone.parameters()).device)
    lost = dataclasses.replace(routing, gate=_FirstAlone(), share=torch.finfo(torch.float32).tiny)
    until = len(backbone.blocks) if routing.until is None else routing.until
    with autocast(images.device, job.arithmetic):
        x_BND, grid = backbone.embed(images)
        x_BND, _ = backbone.run_blocks(x_BND, grid, stop=routing.block, top_k=job.top_k)
        picture = frames_of(images)
        choice = lost.choose(x_BND, grid, picture)
        whole, part = (
            backbone.run_blocks(
                x_BND, grid, start=routing.block, stop=until, top_k=job.top_k, tokens=tokens
            )[0]
            for tokens in (None, choice)
        )
    normal, without = (functional.layer_norm(one.float(), one.shape[-1:]) for one in (whole, part))
    first = backbone.prefix_tokens
    return _Lesson(
        patch_BPD=x_BND[:, first:].bfloat16(),
        picture=picture.half(),
        grid=grid,
        target_BP=((normal - without).square().mean(2)[:, first:] + _LEAST).log(),
        known_BP=~choice.kept_BN[:, first:],
    )


class _FirstAlone:
    """A gate that computes the first patch, or its window, one by one: the fewest that can be."""

    def __call__(self, patch_BPD: Tensor, grid: Grid, *, picture: Tensor) -> Tensor:
        del picture
        return (
            -torch.arange(grid.patches, device=patch_BPD.device).float().expand(len(patch_BPD), -1)
        )


def _train(gate: nn.Module, lessons: Sequence[_Lesson]) -> None:
    known = torch.cat([one.target_BP[one.known_BP] for one in lessons])
    middle, scale = known.mean(), known.std().clamp_min(_LEAST)
    optimiser = torch.optim.AdamW(gate.parameters(), lr=_RATE, weight_decay=1e-3)
    rate = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: 0.5 + 0.5 * math.cos(math.pi * step / _STEPS)
    )
    size = min(_SAMPLES_A_STEP, len(lessons), _PATCHES_A_STEP // lessons[0].target_BP.numel())
    size = max(1, size)
    order: list[int] = []
    gate.train()
    for _ in range(_STEPS):
        if len(order) < size:
            order += torch.randperm(len(lessons)).tolist()
        some = [lessons[place] for place in order[:size]]
        del order[:size]
        wanted_BP = (torch.cat([one.target_BP for one in some]) - middle) / scale
        known_BP = torch.cat([one.known_BP for one in some])
        loss = (_scores(gate, some) - wanted_BP)[known_BP].square().mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        rate.step()


def _scores(gate: TokenGate, some: Sequence[_Lesson]) -> Tensor:
    patch_BPD = torch.cat([one.patch_BPD for one in some]).float()
    return gate(patch_BPD, some[0].grid, picture=torch.cat([one.picture for one in some]).float())


@torch.no_grad()
def _correlation(gate: nn.Module, lessons: Sequence[_Lesson]) -> float | None:
    """Mean over images of Spearman's correlation; None without images or differences."""
    found = []
    for one in lessons:
        for score_P, target_P, known_P in zip(
            _scores(gate, [one]), one.target_BP, one.known_BP, strict=True
        ):
            value = rank_correlation(
                score_P[known_P].cpu().numpy(), target_P[known_P].cpu().numpy()
            )
            if math.isfinite(value):
                found.append(value)
    return round(sum(found) / len(found), 4) if found else None

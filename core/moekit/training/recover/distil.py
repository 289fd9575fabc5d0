"""Recovery, second part: the sparse backbone learns the dense one's features end to end.

The teacher is the same backbone with all its experts. Only routers and low-rank corrections are
trained, on unlabelled pictures (feature distillation, Romero et al. 2015, arXiv:1412.6550). A step
depends on the seed and its number only, so a training that was stopped goes on to the same result.

Shapes: B images, N tokens, D width.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from moekit.backbone.model import MoEBackbone
from moekit.data.stream import Preprocess
from moekit.errors import WeightsError
from moekit.moe.specialists import Grid
from moekit.runtime.device import Arithmetic, autocast
from moekit.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from moekit.training.recover.pictures import batches, half_size
from moekit.training.recover.student import forget_merged, student_tokens, trained_parameters

OnStep = Callable[[int, int, float, float], None]
_CHECKPOINT_SECONDS = 60.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class DistilRecipe:
    """What decides a distillation, apart from the pictures.

    Attributes:
        steps: Optimiser steps.
        batch_size: Images a step.
        rate: Peak rate, as a share of each tensor's root mean square.
        warmup: Steps of rising rate.
        top_k: Experts that most steps train for; the others train for twice and half as many.
        others: Share of the steps that train for another number of experts.
        class_weight: Weight of the class token's cosine next to that of the patches.
        block_weight: Weight of the blocks' squared errors next to the final cosines.
        seed: Decides pictures, crops and numbers of experts.
    """

    steps: int
    batch_size: int = 12
    rate: float = 3e-3
    warmup: int = 30
    top_k: int = 4
    others: float = 0.25
    class_weight: float = 0.25
    block_weight: float = 0.25
    seed: int = 0


class _Trained(nn.Module):
    """What is trained, under names of its own."""

    def __init__(self, backbone: MoEBackbone) -> None:
        super().__init__()
        self.values = nn.ParameterDict(
            {name.replace(".", "_"): value for name, value in trained_parameters(backbone)}
        )


def distil(
    backbone: MoEBackbone,
    files: Sequence[Path],
    recipe: DistilRecipe,
    *,
    preprocess: Preprocess,
    arithmetic: Arithmetic,
    checkpoint: Path,
    on_step: OnStep,
) -> Progress:
    """Trains the routers and corrections of a backbone in place.

    Args:
        backbone: With a sparse form, on its device.
        files: Pictures.
        recipe: What to do.
        preprocess: Size and normalisation of the pictures.
        arithmetic: Of the forward passes.
        checkpoint: Its file; a training found there goes on.
        on_step: Called with steps done, their total, the loss, and the seconds that are left.

    Raises:
        DataError: The checkpoint cannot be used.
        StorageError: It cannot be written.
        WeightsError: A loss is not finite.
    """
    trained = _Trained(backbone)
    groups = [
        {"params": [value], "peak": recipe.rate * float(value.detach().square().mean().sqrt())}
        for value in trained.values.values()
        if value.numel()
    ]
    optimizer = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.99), weight_decay=0.0)
    progress = Progress()
    if checkpoint.exists():
        progress = load_checkpoint(checkpoint, modules={"trained": trained}, optimizer=optimizer)
    first, began, saved = progress.step, time.monotonic(), time.monotonic()
    trained.requires_grad_(True)
    try:
        while progress.step < recipe.steps:
            _set_rate(optimizer, recipe, progress.step)
            loss = _step(backbone, files, recipe, progress.step, preprocess, arithmetic)
            if not loss.isfinite():
                raise WeightsError(
                    f"the loss of step {progress.step + 1} is {float(loss.detach())}, so the "
                    "weights are lost",
                    whose="the distillation",
                    fix="choose a lower rate, delete the unfinished work and begin again",
                    code="weights/not-finite",
                )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(trained.parameters(), 1.0)
            optimizer.step()
            progress.step += 1
            progress.loss_sum += float(loss.detach())
            spent = time.monotonic() - began
            left = spent / (progress.step - first) * (recipe.steps - progress.step)
            on_step(progress.step, recipe.steps, float(loss.detach()), left)
            if time.monotonic() - saved > _CHECKPOINT_SECONDS or progress.step == recipe.steps:
                saved = time.monotonic()
                save_checkpoint(
                    checkpoint,
                    modules={"trained": trained},
                    optimizer=optimizer,
                    progress=progress,
                )
    finally:
        trained.requires_grad_(False)
        forget_merged(backbone)
    return progress


def _set_rate(optimizer: torch.optim.Optimizer, recipe: DistilRecipe, step: int) -> None:
    rising = min(1.0, (step + 1) / max(recipe.warmup, 1))
    falling = 0.5 * (1 + math.cos(math.pi * step / recipe.steps))
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * rising * max(falling, 0.02)


def _step(
    backbone: MoEBackbone,
    files: Sequence[Path],
    recipe: DistilRecipe,
    step: int,
    preprocess: Preprocess,
    arithmetic: Arithmetic,
) -> Tensor:
    generator = np.random.default_rng([recipe.seed, step])
    chosen = [files[i] for i in generator.integers(len(files), size=recipe.batch_size)]
    if step % 3 == 2:
        preprocess = half_size(preprocess, backbone.patch)
    images = next(
        batches(chosen, preprocess, batch_size=recipe.batch_size, epoch=step, seed=recipe.seed)
    )
    top_k = recipe.top_k
    if generator.random() < recipe.others:
        top_k = int(generator.choice([max(1, top_k // 2), min(backbone.experts - 1, 2 * top_k)]))
    device = next(backbone.parameters()).device
    with autocast(device, arithmetic):
        with torch.no_grad():
            x_BND, grid = backbone.embed(images.to(device))
            teacher = _teacher_tokens(backbone, x_BND, grid)
        student = student_tokens(backbone, x_BND, top_k=top_k)
    return _loss(student, teacher, backbone.prefix_tokens, recipe)


def _teacher_tokens(backbone: MoEBackbone, x_BND: Tensor, grid: Grid) -> list[Tensor]:
    with backbone.at_top_k(backbone.experts):
        last_BND, kept = backbone.run_blocks(x_BND, grid, keep=range(len(backbone.blocks)))
    return [*(kept[index] for index in sorted(kept)), backbone.stem.norm(last_BND)]


def _loss(
    student: Sequence[Tensor], teacher: Sequence[Tensor], prefix: int, recipe: DistilRecipe
) -> Tensor:
    near_BN = nn.functional.cosine_similarity(student[-1].float(), teacher[-1].float(), dim=2)
    loss = (1 - near_BN[:, prefix:]).mean()
    if prefix:
        loss = loss + recipe.class_weight * (1 - near_BN[:, 0]).mean()
    for ours, theirs in zip(student[:-1], teacher[:-1], strict=True):
        theirs = theirs.float()
        share = (ours.float() - theirs).square().mean() / theirs.var().clamp_min(1e-12)
        loss = loss + recipe.block_weight * share / (len(student) - 1)
    return loss

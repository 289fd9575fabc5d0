"""Training a whole backbone of any size without labels, in as many processes as there are.

All parameters are trained; no frozen model takes part, so the objective is self-distillation. The
backbone and its averaged copy are spread over a mesh (`moekit.scale`); a checkpoint is in shards.

Shapes: B images of a step, E experts.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard

from moekit.data.content import Contents
from moekit.data.fingerprint import fingerprint
from moekit.data.geometry import Frame
from moekit.data.samples import Sample
from moekit.data.stream import Preprocess
from moekit.files import read_json, write_json
from moekit.moe.specialists import Grid
from moekit.moe.stats import RoutingTrace
from moekit.pretraining.collapse import refuse_collapse
from moekit.pretraining.crops import small_frame
from moekit.pretraining.fit import (
    LARGEST_GRADIENT,
    momentum_at,
    probe_steps,
    refuse_lost_loss,
)
from moekit.pretraining.fresh import Fresh, readable
from moekit.pretraining.judge import Judge, judged_samples, worse_in_words
from moekit.pretraining.learner import Learner, Whole
from moekit.pretraining.objectives import LARGE, SelfDistillation, hide
from moekit.pretraining.specialists import seen_samples
from moekit.pretraining.tier_job import TierJob
from moekit.runs.facts import machine, now, versions
from moekit.runs.licences import licences_of_run
from moekit.runtime.device import autocast, pick_arithmetic
from moekit.scale.checkpoint import load_sharded, save_sharded
from moekit.scale.parallel import (
    Meshes,
    balance_routers,
    clip_gradients,
    make_meshes,
    parallelise,
    parameter_groups,
)
from moekit.scale.processes import is_first, mean_of, processes, rank, wait
from moekit.training.schedule import follow, share_of_rate

WEIGHTS = "backbone"
_STATE = "progress.json"
_BALANCE_RATE = 1e-3


def pretrain_backbone(
    job: TierJob,
    *,
    on_progress: Callable[[str, int, int], None],
    on_figures: Callable[[Mapping[str, float]], None],
    on_note: Callable[[str], None],
) -> dict[str, Any]:
    """Trains a backbone; the process group runs already if there are several processes.

    Returns:
        The record. The averaged weights lie next to it in shards, in the folder `WEIGHTS`, which
        `moekit.scale.checkpoint.load_sharded` reads into `Tier.build`.

    Raises:
        DataError: The data cannot be used, or changed since.
        StorageError: Something cannot be written.
        UsageError: The folder is taken, or the mesh does not fit.
        WeightsError: The features collapsed, or a loss is not finite.
    """
    job.check()
    contents = Contents()
    chosen, notes = seen_samples(job.dataset, contents, on_progress, limit=job.recipe.limit)
    seen, skipped = readable(chosen, on_progress, least=processes())
    known = {"train": fingerprint(chosen, contents)}
    if is_first():
        job.out.begin({**job.request(), "data": known}, resume=job.resume)
    wait()
    record = job.out.read()
    if record["done"]:
        return record
    for note in notes:
        on_note(note)
    training = _Training(job, seen, on_progress, on_figures)
    training.run()
    training.keep(job.out.folder / WEIGHTS)
    if is_first():
        notes += worse_in_words(training.history)
        job.out.finish(
            None,
            [contents.of(one.path) for one in seen],
            {
                "parameters": {"trained": training.parameters},
                "seconds": round(training.seconds, 1),
                "processes": processes(),
                "curves": training.history,
                "skipped": [dataclasses.asdict(one) for one in (*job.dataset.skipped, *skipped)],
                "licences": licences_of_run(None, [], job.dataset),
                "notes": [*job.dataset.notes, *notes],
                "versions": versions(),
                "machine": machine(),
                "created": now(),
                "command": job.command,
            },
        )
        shutil.rmtree(job.out.checkpoints, ignore_errors=True)
    wait()
    return job.out.read()


class _Training:
    def __init__(
        self,
        job: TierJob,
        seen: tuple[Sample, ...],
        on_progress: Callable[[str, int, int], None],
        on_figures: Callable[[Mapping[str, float]], None],
    ) -> None:
        self.job, self.recipe = job, job.recipe
        self._on_progress, self._on_figures = on_progress, on_figures
        frame = Frame(height=job.tier.image_size, width=job.tier.image_size)
        narrow = small_frame(frame, job.recipe.small_share, job.tier.patch)
        self._grids = [
            Grid(one.height // job.tier.patch, one.width // job.tier.patch)
            for one in (frame, narrow)
        ]
        self._target = SelfDistillation(job.recipe)
        self._target.centres.to(job.device)
        self._arithmetic = pick_arithmetic(job.recipe.precision, job.device)
        self._dtype = torch.bfloat16 if self._arithmetic == "bf16" else None
        torch.manual_seed(job.seed)
        built = self._learner()
        average = copy.deepcopy(built)
        self.parameters = sum(value.numel() for value in built.parameters())
        self._meshes = self._spread(built, average)
        self._learning, self._average = built, average.requires_grad_(False)
        groups = parameter_groups(built)
        self._optimiser = torch.optim.AdamW(
            groups, lr=job.recipe.rate, weight_decay=job.recipe.weight_decay
        )
        backbone = _backbone(built)
        reads = {"mean": backbone.mean, "std": backbone.std}
        self._fresh = Fresh(
            samples=seen,
            large=Preprocess(frame=frame, **reads),
            small=Preprocess(frame=narrow, **reads),
            recipe=job.recipe,
        )
        self._judge = _judge(job, self._fresh, self._grids[0])
        whole = min(job.recipe.batch_size, len(seen)) // processes() * processes()
        self._size = max(whole, processes())
        self._per_epoch = max(1, len(seen) // self._size)
        self._steps = job.recipe.epochs * self._per_epoch
        self.step, self.seconds, self._losses = 0, 0.0, 0.0
        self.history: list[dict[str, float]] = []
        self._resume()

    def run(self) -> None:
        """Trains to the last step."""
        when = probe_steps(self._steps, self.recipe.probes)
        began = time.monotonic() - self.seconds
        if not self.history:
            self._look(0.0)
        while self.step < self._steps:
            self._losses += self._one()
            self.step += 1
            self.seconds = time.monotonic() - began
            self._on_progress("pretraining, steps", self.step, self._steps)
            if self.step in when:
                self._look(self._losses / max(1.0, self.step - self.history[-1]["step"]))
                self._losses = 0.0
            if self.step % self.job.every == 0 and self.step < self._steps:
                self._save()

    def keep(self, folder: Path) -> None:
        """Writes the averaged weights of the backbone, in shards."""
        if is_first():
            shutil.rmtree(folder, ignore_errors=True)
        wait()
        save_sharded(folder, _backbone(self._average))

    def _one(self) -> float:
        recipe = self.recipe
        done = self.step / self._steps
        for group in self._optimiser.param_groups:
            group["lr"] = recipe.rate * share_of_rate(done, recipe.warmup)
        large, small, hidden = self._inputs()
        trace = RoutingTrace()
        encoder = _encoder(self._learning)
        encoder.trace = trace
        with autocast(self.job.device, self._arithmetic):
            taught = self._target.taught(self._average, large, self._grids[0], hidden)
            outputs = self._learning(large, small, hidden)
        encoder.trace = None
        if not self.step:
            self._target.begin(taught, mean_of)
        loss = self._target.loss(outputs, taught)
        self._target.follow(taught, mean_of)
        mean = float(mean_of(loss.detach()))
        refuse_lost_loss(mean, self.step)
        loss.backward()  # type: ignore[no-untyped-call]
        if self._meshes is None:
            nn.utils.clip_grad_norm_(self._learning.parameters(), LARGEST_GRADIENT)
        else:
            clip_gradients(self._learning, LARGEST_GRADIENT)
        self._optimiser.step()
        self._optimiser.zero_grad()
        self._balance(trace)
        _reshard(self._average)
        follow(self._average, self._learning, momentum_at(recipe.momentum, done, self.step))
        return mean

    def _inputs(self) -> tuple[Tensor, Tensor | None, Tensor]:
        """Of this process."""
        job, share = self.job, slice(rank(), None, processes())
        epoch, place = divmod(self.step, self._per_epoch)
        order = np.random.default_rng([job.seed, epoch]).permutation(len(self._fresh.samples))
        chosen = order[place * self._size : (place + 1) * self._size]
        large, small = self._fresh.read(chosen[share], [job.seed, epoch])
        generator = torch.Generator().manual_seed((job.seed << 32) + self.step)
        hidden = hide(LARGE * len(chosen), self._grids[0], self.recipe.hidden_share, generator)
        mine = torch.unflatten(hidden, 0, (LARGE, -1))[:, share].flatten(0, 1)
        moved = [one if one is None else one.to(job.device) for one in (large, small, mine)]
        return moved[0], moved[1], moved[2]  # type: ignore[return-value]

    def _balance(self, trace: RoutingTrace) -> None:
        counts: dict[int, Tensor] = {}
        for record in trace.blocks:
            found = record.counts_BE.sum(0)
            counts[record.block] = counts.get(record.block, torch.zeros_like(found)) + found
        backbone = _backbone(self._learning)
        if self._meshes is not None:
            balance_routers(backbone, counts, rate=_BALANCE_RATE)
            return
        for index, counts_E in counts.items():
            block: Any = backbone.blocks[index]
            block.moe.router.balance(counts_E, rate=_BALANCE_RATE)

    def _look(self, loss: float) -> None:
        """Appends a judgement to the history; refuses features that collapsed."""
        with torch.no_grad(), autocast(self.job.device, self._arithmetic):
            found = self._judge(self._encode)
        _reshard(self._average)
        entry = {"step": float(self.step), "epoch": self.step / self._per_epoch}
        if self.history:
            entry["loss"] = loss
        entry.update(found, seconds=self.seconds)
        best = max([one["rank"] for one in self.history], default=found["rank"])
        self.history.append(entry)
        self._on_figures(entry)
        refuse_collapse(found["rank"], best, self.recipe.least_rank)

    def _encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        found: tuple[Tensor, Tensor] = self._average.encoder(
            images.to(self.job.device), self._grids[0]
        )
        return found

    def _learner(self) -> Learner:
        backbone = self.job.tier.build(self.job.device, seed=self.job.seed)
        head = functools.partial(self._target.head, backbone.width)
        learner = Learner(Whole(backbone), head=head, large=self._grids[0], small=self._grids[1])
        return learner.to(self.job.device)

    def _spread(self, *learners: Learner) -> Meshes | None:
        """Spreads backbones and heads over the processes; of one process nothing is spread."""
        if processes() == 1:
            return None
        expert = self.job.expert_axis
        meshes = make_meshes(self.job.device.type, data=processes() // expert, expert=expert)
        for learner in learners:
            parallelise(_backbone(learner), meshes, dtype=self._dtype)
            for head in (learner.class_head, learner.patch_head):
                fully_shard(head, mesh=meshes.everyone).set_force_sum_reduction_for_comms(True)
        return meshes

    def _save(self) -> None:
        """Writes a checkpoint, then names it, then deletes the one before."""
        folder = self.job.out.checkpoints
        name = f"step-{self.step}"
        if is_first():
            shutil.rmtree(folder / name, ignore_errors=True)
        wait()
        save_sharded(folder / name, self._states(), self._optimiser)
        if is_first():
            state: dict[str, Any] = {"name": name, "step": self.step, "seconds": self.seconds}
            state.update(losses=self._losses, history=self.history)
            write_json(folder / _STATE, state)
            for other in folder.glob("step-*"):
                if other.name != name:
                    shutil.rmtree(other, ignore_errors=True)
        wait()

    def _resume(self) -> None:
        state = self.job.out.checkpoints / _STATE
        if not state.exists():
            return
        known = read_json(state)
        load_sharded(state.parent / known["name"], self._states(), self._optimiser)
        self.step, self.seconds = int(known["step"]), float(known["seconds"])
        self._losses = float(known["losses"])
        self.history = list(known["history"])

    def _states(self) -> nn.ModuleDict:
        modules = {"learner": self._learning, "average": self._average}
        return nn.ModuleDict({**modules, "centres": self._target.centres})


def _reshard(module: nn.Module) -> None:
    """Puts back into shards what a pass without gradients has gathered and left whole."""
    for part in module.modules():
        if isinstance(part, FSDPModule):
            part.reshard()


def _judge(job: TierJob, fresh: Fresh, grid: Grid) -> Judge:
    known = {one.id for one in fresh.samples}
    train, other = judged_samples(job.dataset, job.recipe.probe_images)
    train = tuple(one for one in train if one.id in known)
    labels = (np.asarray([one.label for one in train]), np.asarray([one.label for one in other]))
    return Judge(
        train=lambda: fresh.whole(train),
        other=lambda: fresh.whole(other),
        labels=labels if other else None,
        grid=grid,
    )


def _encoder(learner: Learner) -> Whole:
    encoder = learner.encoder
    assert isinstance(encoder, Whole)
    return encoder


def _backbone(learner: Learner) -> Any:
    return _encoder(learner).backbone

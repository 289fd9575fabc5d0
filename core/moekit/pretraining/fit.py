"""The training loop of a pretraining on stored crops.

A step depends on the seed and its number only, so a training that was stopped goes on to the same
result. Several processes share each step's images.

Shapes: B images of a step, I items, D width, N images.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from moekit.errors import WeightsError
from moekit.pretraining.bank import Bank
from moekit.pretraining.collapse import refuse_collapse
from moekit.pretraining.judge import Judge
from moekit.pretraining.learner import Learner
from moekit.pretraining.objectives import LARGE, Target, hide
from moekit.pretraining.recipe import PretrainRecipe
from moekit.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from moekit.training.schedule import follow, share_of_rate

OnFigures = Callable[[Mapping[str, float]], None]
_CHECKPOINT_SECONDS = 45.0
LARGEST_GRADIENT = 3.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fitting:
    """One pretraining.

    Attributes:
        learner: What is trained, in place; at the end it holds the averaged weights.
        specialists: The part of it that is kept, which has a rate of its own.
        target: The objective.
        bank: The stored crops.
        judge: Judges features.
        recipe: How to train.
        seed: Decides order, crops and what is hidden.
        fabric: Launched.
        checkpoint: A file for the state of an unfinished training; what is found there goes on.
        on_step: Called with steps made and their total.
        on_figures: Called with the figures of each judgement.
    """

    learner: Learner
    specialists: nn.Module
    target: Target
    bank: Bank
    judge: Judge
    recipe: PretrainRecipe
    seed: int
    fabric: Fabric
    checkpoint: Path
    on_step: Callable[[int, int], None]
    on_figures: OnFigures


def fit(job: Fitting) -> Progress:
    """Trains; returns where it ended, with one entry of the history for each judgement.

    Raises:
        DataError: The checkpoint cannot be used.
        WeightsError: A loss is not finite, or the features collapsed.
    """
    return _Fit(job).run()


class _Fit:
    def __init__(self, job: Fitting) -> None:
        self.job, self.recipe, self.fabric = job, job.recipe, job.fabric
        self._average = copy.deepcopy(job.learner).requires_grad_(False).eval()
        self._optimizer = torch.optim.AdamW(parameter_groups(job.learner, job.specialists, job))
        self._learner, self._stepper = self.fabric.setup(job.learner, self._optimizer)
        self._average.to(self.fabric.device)
        job.target.centres.to(self.fabric.device)
        self._state = self._resume()
        self._saved = time.monotonic()
        self._began = self._saved - self._state.seconds
        size = min(self.recipe.batch_size, len(job.bank))
        self._per_epoch = max(1, len(job.bank) // size)
        self._size = size
        self._steps = self.recipe.epochs * self._per_epoch

    def run(self) -> Progress:
        """Trains to the last step; the first judgement is of the frozen features."""
        state = self._state
        when = probe_steps(self._steps, self.recipe.probes)
        if not state.history:
            self._judge(0.0)
        while not state.done:
            self._step()
            state.step += 1
            self.job.on_step(state.step, self._steps)
            if state.step in when:
                mean = state.loss_sum / (state.step - int(state.history[-1]["step"]))
                state.loss_sum = 0.0
                self._judge(mean)
            state.done = state.step >= self._steps
            if state.done or time.monotonic() - self._saved > _CHECKPOINT_SECONDS:
                self._save()
        self.job.learner.load_state_dict(self._average.state_dict())
        self.job.learner.eval()
        return state

    def _step(self) -> None:
        state, recipe, job = self._state, self.recipe, self.job
        done = state.step / self._steps
        for group in self._optimizer.param_groups:
            group["lr"] = group["peak"] * share_of_rate(done, recipe.warmup)
        mine = slice(self.fabric.global_rank, None, self.fabric.world_size)
        large, small, hidden = self._inputs(mine)
        with self.fabric.autocast():
            taught = job.target.taught(self._average, large, job.bank.large, hidden)
        if not state.step:
            job.target.begin(taught, self._mean)
        outputs = cast(dict[str, Tensor], self._learner(large, small, hidden))
        loss = job.target.loss(outputs, taught)
        job.target.follow(taught, self._mean)
        mean = float(self._mean(loss.detach()))
        refuse_lost_loss(mean, state.step)
        state.loss_sum += mean
        self.fabric.backward(loss)
        nn.utils.clip_grad_norm_(job.learner.parameters(), LARGEST_GRADIENT)
        self._stepper.step()
        self._stepper.zero_grad()
        follow(self._average, job.learner, momentum_at(recipe.momentum, done, state.step))

    def _inputs(self, mine: slice) -> tuple[Tensor, Tensor | None, Tensor]:
        """Of this process: tokens of large and small crops, and which patches are hidden."""
        state, bank = self._state, self.job.bank
        epoch, place = divmod(state.step, self._per_epoch)
        order = np.random.default_rng([self.job.seed, epoch]).permutation(len(bank))
        chosen = order[place * self._size : (place + 1) * self._size]
        drawn = np.random.default_rng([self.job.seed, epoch, place])
        rows, views = bank.draw(chosen, drawn)
        large, small = bank.read(rows[mine], views[mine])
        generator = torch.Generator().manual_seed((self.job.seed << 32) + state.step)
        count = len(chosen) * bank.large.frames
        hidden_VRP = hide(LARGE * count, bank.large, self.recipe.hidden_share, generator)
        hidden_VITP = torch.unflatten(hidden_VRP, 0, (LARGE, len(chosen), bank.large.frames))
        hidden_RP = hidden_VITP[:, mine].flatten(0, 2)
        moved = self.fabric.to_device((large, small, hidden_RP))
        return cast(tuple[Tensor, Tensor | None, Tensor], moved)

    def _judge(self, loss: float) -> None:
        """Appends to the history; refuses features that collapsed."""
        state = self._state
        found = self.job.judge(self._encode)
        entry = {
            "step": float(state.step),
            "epoch": state.step / self._per_epoch,
            "loss": loss,
            **found,
            "seconds": time.monotonic() - self._began,
        }
        if not state.history:
            del entry["loss"]
        best = max([one["rank"] for one in state.history], default=found["rank"])
        state.history.append(entry)
        self.job.on_figures(entry)
        refuse_collapse(found["rank"], best, self.recipe.least_rank)

    @torch.inference_mode()
    def _encode(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        with self.fabric.autocast():
            grid = self.job.judge.grid
            found = self._average.encoder(self.fabric.to_device(tokens.float()), grid, None)
        return cast(tuple[Tensor, Tensor], found)

    def _mean(self, value: Tensor) -> Tensor:
        return cast(Tensor, self.fabric.all_reduce(value, reduce_op="mean"))

    def _modules(self) -> dict[str, nn.Module]:
        job = self.job
        return {"learner": job.learner, "average": self._average, "centres": job.target.centres}

    def _save(self) -> None:
        self._saved = time.monotonic()
        self._state.seconds = self._saved - self._began
        if self.fabric.is_global_zero:
            save_checkpoint(
                self.job.checkpoint,
                modules=self._modules(),
                optimizer=self._optimizer,
                progress=self._state,
            )
        self.fabric.barrier()

    def _resume(self) -> Progress:
        if not self.job.checkpoint.exists():
            return Progress()
        return load_checkpoint(
            self.job.checkpoint, modules=self._modules(), optimizer=self._optimizer
        )


def parameter_groups(learner: Learner, kept: nn.Module, job: Fitting) -> list[dict[str, Any]]:
    """What is kept and what reads it at their own rates; matrices decay, vectors do not."""
    inside = {id(value) for value in kept.parameters()}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for value in learner.parameters():
        if value.requires_grad:
            rate = job.recipe.rate if id(value) in inside else job.recipe.head_rate
            decay = job.recipe.weight_decay if value.ndim > 1 else 0.0
            groups.setdefault((rate, decay), []).append(value)
    return [
        {"params": values, "peak": rate, "weight_decay": decay}
        for (rate, decay), values in groups.items()
    ]


def momentum_at(first: float, done: float, step: int) -> float:
    """The decay of the averaged copy: rising to 1 by a half cosine, lower in the first steps."""
    rising = 1 - (1 - first) * (math.cos(math.pi * done) + 1) / 2
    return min(rising, (1 + step) / (10 + step))


def probe_steps(steps: int, probes: int) -> frozenset[int]:
    """After which steps features are judged: evenly, the last one always."""
    return frozenset(max(1, round(steps * part / probes)) for part in range(1, probes + 1))


def refuse_lost_loss(loss: float, step: int) -> None:
    """Stops a training whose weights are lost.

    Raises:
        WeightsError: The loss is not finite.
    """
    if math.isfinite(loss):
        return
    raise WeightsError(
        f"the loss of step {step + 1} is {loss}, so the weights are lost",
        whose="the pretraining",
        fix="choose a lower rate or the precision fp32, and begin again in a new folder",
        code="weights/not-finite",
    )

"""The loop of the gating fine-tune: trains a kit's modules on stored prefixes.

Any step depends on the seed and its own number alone, so a training that was stopped and resumed
ends with the same weights as one that was not.

Shapes: B images or stacks, T frames of a stack, N tokens of a frame, D width.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from typing import cast

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import Tensor, nn
from torchmetrics.functional.classification import binary_auroc

from moekit.backbone.model import MoEBackbone
from moekit.contract.jobs import FitJob, FitResult
from moekit.contract.recipe import Recipe
from moekit.moe.specialists import Grid
from moekit.moe.stats import RoutingTrace
from moekit.runtime.kit import KitModules
from moekit.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from moekit.training.prefix import PrefixStore

OnEpoch = Callable[[Mapping[str, float]], None]
_CHECKPOINT_SECONDS = 45.0
_LEAST_RATE = 0.01


class Trainee(nn.Module):
    """A kit on its backbone, from the end of the prefix to the logits.

    Args:
        kit: What is trained.
        backbone: Frozen; it is used but is no part of this module's state.
        grid: Of the stored tokens. It is no argument of `forward`, since what wraps modules takes
            named tuples apart and makes them anew without their attributes.
    """

    def __init__(self, kit: KitModules, backbone: MoEBackbone, grid: Grid) -> None:
        super().__init__()
        self.kit = kit
        self._grid = grid
        self._backbone = (backbone,)

    def forward(
        self,
        x_BND: Tensor,
        kept: dict[int, Tensor],
        trace: RoutingTrace | None = None,
    ) -> Tensor:
        """(B,) logits from the stored tokens at the end of the prefix, (B * T, N, D)."""
        stored = {block: value.float() for block, value in kept.items()}
        output = self.kit(self._backbone[0], x_BND.float(), stored, self._grid, trace=trace)
        return cast(Tensor, output.logit_B)


def fit_labelled(task: FitJob) -> FitResult:
    """The core's training loop, for samples of both classes.

    At the end the kit holds the averaged weights of the epoch with the lowest validation loss.
    """
    progress = _Fit(task).run()
    return FitResult(
        epochs=progress.epoch,
        best_epoch=progress.best_epoch,
        seconds=progress.seconds,
        history=tuple(progress.history),
    )


def score_stored(
    kit: KitModules,
    store: PrefixStore,
    *,
    backbone: MoEBackbone,
    fabric: Fabric,
    batch_size: int,
) -> np.ndarray:
    """(n,) float64 probabilities of the positive class, in the order of the store."""
    kit.eval()
    logit_B = _logits(Trainee(kit, backbone, store.grid), store, fabric, batch_size)
    return logit_B.double().sigmoid().numpy()


class _Fit:
    def __init__(self, task: FitJob) -> None:
        self.kit = task.kit
        self.fabric = task.fabric
        self.train = task.train
        self.val = task.val
        self.recipe = task.recipe
        self.epochs = task.epochs
        self.seed = task.seed
        self.checkpoint = task.checkpoint
        self.on_epoch = task.on_epoch
        self._targets = _targets(self.train, soft=self.recipe.soft_targets)
        self._optimizer = torch.optim.AdamW(_parameter_groups(self.kit, self.recipe))
        self._average = copy.deepcopy(self.kit).requires_grad_(False)
        self._best = copy.deepcopy(self._average)
        self._scorer = Trainee(self._average, task.backbone, self.val.grid)
        trainee = Trainee(self.kit, task.backbone, self.train.grid)
        self._trainee, self._stepper = self.fabric.setup(trainee, self._optimizer)
        self._state = self._resume()
        self._saved_at = time.monotonic()
        self._began = time.monotonic() - self._state.seconds

    def run(self) -> Progress:
        """Trains to the last epoch, or until the validation loss no longer falls.

        The weights it begins with count as epoch 0: if no epoch is better, they are what is kept.
        """
        state = self._state
        if state.epoch == state.step == 0:
            state.best_loss = self._validate()[0]
        while not state.done:
            self._epoch()
            if self._finish_epoch() or state.epoch == self.epochs:
                state.done = True
            self._save()
        for module in (self.kit, self._average):
            module.load_state_dict(self._best.state_dict())
        self.kit.eval()
        return state

    def _epoch(self) -> None:
        state = self._state
        batches = self._batches(state.epoch)
        self.kit.train()
        while state.step < len(batches):
            rows, views = batches[state.step]
            number = state.epoch * len(batches) + state.step
            done = number / (len(batches) * self.epochs)
            share = _share_of_rate(done, self.recipe.warmup)
            for group in self._optimizer.param_groups:
                group["lr"] = group["peak"] * share
            torch.manual_seed((self.seed << 32) + number)
            state.loss_sum += self._step(rows, views, number)
            state.step += 1
            if time.monotonic() - self._saved_at > _CHECKPOINT_SECONDS:
                self._save()

    def _step(self, rows: np.ndarray, views: np.ndarray, number: int) -> float:
        mine = slice(self.fabric.global_rank, None, self.fabric.world_size)
        x_BND, kept = self.fabric.to_device(self.train.read(rows[mine], views[mine]))
        target_B = self.fabric.to_device(self._targets[torch.from_numpy(rows[mine])])
        trace = RoutingTrace() if self.recipe.balance_rate else None
        logit_B = self._trainee(x_BND, kept, trace)
        loss = nn.functional.binary_cross_entropy_with_logits(logit_B.float(), target_B)
        self.fabric.backward(loss)
        self._stepper.step()
        self._stepper.zero_grad()
        if trace is not None:
            self._balance(trace)
        self._update_average(number)
        return float(cast(Tensor, self.fabric.all_reduce(loss.detach(), reduce_op="mean")))

    def _batches(self, epoch: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Rows and views of each step; a last piece with fewer rows than processes is left out."""
        generator = np.random.default_rng([self.seed, epoch])
        rows = generator.permutation(len(self.train))
        views = generator.integers(self.train.plan.views, size=len(rows))
        size = self.recipe.batch_size
        starts = range(0, len(rows), size)
        pieces = [(rows[start : start + size], views[start : start + size]) for start in starts]
        return [piece for piece in pieces if len(piece[0]) >= self.fabric.world_size]

    def _balance(self, trace: RoutingTrace) -> None:
        branches = self.kit.branches
        for routed in trace.blocks:
            if routed.kit is not None:
                counts_E = self.fabric.all_reduce(routed.counts_BE.sum(0), reduce_op="sum")
                branches[routed.block].router.balance(
                    cast(Tensor, counts_E), rate=self.recipe.balance_rate
                )

    @torch.no_grad()
    def _update_average(self, number: int) -> None:
        decay = min(self.recipe.average, (1 + number) / (10 + number))
        pairs = zip(self._average.parameters(), self.kit.parameters(), strict=True)
        for average, current in pairs:
            average.lerp_(current, 1 - decay)
        buffers = zip(self._average.buffers(), self.kit.buffers(), strict=True)
        for average_buffer, buffer in buffers:
            average_buffer.copy_(buffer)

    def _finish_epoch(self) -> bool:
        """Validates, keeps the best weights; returns whether patience has run out."""
        state = self._state
        loss, auroc = self._validate()
        steps, state.step = state.step, 0
        state.epoch += 1
        state.seconds = time.monotonic() - self._began
        figures = {
            "epoch": state.epoch,
            "train_loss": state.loss_sum / max(steps, 1),
            "val_loss": loss,
            "val_auroc": auroc,
            "lr": self._optimizer.param_groups[0]["lr"],
            "seconds": state.seconds,
        }
        state.loss_sum = 0.0
        state.history.append(figures)
        if loss < state.best_loss:
            state.best_loss, state.best_epoch = loss, state.epoch
            self._best.load_state_dict(self._average.state_dict())
        self.on_epoch(figures)
        return state.epoch - state.best_epoch >= self.recipe.patience

    def _validate(self) -> tuple[float, float]:
        """Loss and AUROC of the averaged weights on the validation split."""
        self._average.eval()
        logit_B = _logits(self._scorer, self.val, self.fabric, self.recipe.batch_size)
        soft_B = _targets(self.val, soft=self.recipe.soft_targets)
        label_B = torch.tensor([sample.label for sample in self.val.samples])
        loss = nn.functional.binary_cross_entropy_with_logits(logit_B, soft_B)
        return float(loss), float(binary_auroc(logit_B.double().sigmoid(), label_B))

    def _modules(self) -> dict[str, nn.Module]:
        return {"kit": self.kit, "average": self._average, "best": self._best}

    def _save(self) -> None:
        self._saved_at = time.monotonic()
        self._state.seconds = self._saved_at - self._began
        if self.fabric.is_global_zero:
            save_checkpoint(
                self.checkpoint,
                modules=self._modules(),
                optimizer=self._optimizer,
                progress=self._state,
            )
        self.fabric.barrier()

    def _resume(self) -> Progress:
        if not self.checkpoint.exists():
            return Progress()
        return load_checkpoint(self.checkpoint, modules=self._modules(), optimizer=self._optimizer)


@torch.inference_mode()
def _logits(scorer: Trainee, store: PrefixStore, fabric: Fabric, batch_size: int) -> Tensor:
    """(n,) float32 logits in the order of the store, the means over its views."""
    logits = []
    for start in range(0, len(store), batch_size):
        rows = np.arange(start, min(start + batch_size, len(store)))
        views = []
        for number in range(store.plan.views):
            x_BND, kept = fabric.to_device(store.read(rows, np.full_like(rows, number)))
            with fabric.autocast():
                views.append(scorer(x_BND, kept).float().cpu())
        logits.append(torch.stack(views).mean(0))
    return torch.cat(logits)


def _targets(store: PrefixStore, *, soft: bool) -> Tensor:
    values = [
        sample.target if soft and sample.target is not None else float(sample.label)
        for sample in store.samples
    ]
    return torch.tensor(values, dtype=torch.float32)


def _parameter_groups(kit: KitModules, recipe: Recipe) -> list[dict[str, object]]:
    """The head and the specialists at their own rates; matrices decay, vectors do not."""
    groups: list[dict[str, object]] = []
    for part, rate in ((kit.head, recipe.learning_rate), (kit.sets, recipe.specialist_rate)):
        values = [value for value in part.parameters() if value.requires_grad]
        for decay, chosen in (
            (recipe.weight_decay, [value for value in values if value.ndim > 1]),
            (0.0, [value for value in values if value.ndim <= 1]),
        ):
            if chosen:
                groups.append({"params": chosen, "weight_decay": decay, "peak": rate})
    return groups


def _share_of_rate(done: float, warmup: float) -> float:
    """Linear warm-up, then a half cosine down to a hundredth of the peak rate."""
    if done < warmup:
        return max(done / warmup, _LEAST_RATE)
    cosine = 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup)))
    return _LEAST_RATE + (1 - _LEAST_RATE) * cosine

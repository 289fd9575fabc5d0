"""The loop of the gating fine-tune: trains a kit's modules on stored prefixes.

Any step depends on the seed and its own number only, so a training that was stopped and resumed
ends with the same weights as one that was not.

Shapes: B images or stacks, T frames of a stack, N tokens of a frame, D width.
"""

from __future__ import annotations

import collections
import copy
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import cast

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from moekit.backbone.model import MoEBackbone
from moekit.contract.jobs import FitJob, FitResult
from moekit.contract.outputs import Outputs
from moekit.contract.recipe import Recipe
from moekit.contract.tasks import TaskSpec
from moekit.errors import WeightsError
from moekit.moe.specialists import Grid
from moekit.moe.stats import RoutingTrace
from moekit.runtime.kit import KitModules
from moekit.runtime.predictor import turned_back
from moekit.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from moekit.training.prefix import PrefixStore
from moekit.training.schedule import follow, share_of_rate

OnEpoch = Callable[[Mapping[str, float]], None]
_CHECKPOINT_SECONDS = 45.0
_TOGETHER = 2**24
"""Numbers of the outputs of a validation split that are judged at once."""


class Trainee(nn.Module):
    """A kit on its backbone, from the end of the prefix to the outputs.

    Args:
        kit: What is trained.
        backbone: Frozen; it is used but is no part of this module's state.
        store: Says the grid of the stored tokens and the `top_k` of the pass. The grid is no
            argument of `forward`, since what wraps modules takes named tuples apart and makes
            them again without their attributes.
    """

    def __init__(self, kit: KitModules, backbone: MoEBackbone, store: PrefixStore) -> None:
        super().__init__()
        self.kit = kit
        self._grid: Grid = store.grid
        self._top_k = store.plan.top_k
        self._backbone = (backbone,)

    def forward(
        self,
        x_BND: Tensor,
        kept: dict[int, Tensor],
        trace: RoutingTrace | None = None,
        picture: Tensor | None = None,
        targets: Outputs | None = None,
    ) -> dict[str, Tensor]:
        """The head's outputs from the stored tokens at the end of the prefix, (B * T, N, D)."""
        stored = {block: value.float() for block, value in kept.items()}
        outputs: Outputs = self.kit(
            self._backbone[0],
            x_BND.float(),
            stored,
            self._grid,
            top_k=self._top_k,
            trace=trace,
            picture=picture,
            targets=targets,
        )
        return dict(outputs)


def fit(job: FitJob) -> FitResult:
    """The core's training loop.

    At the end the kit holds the averaged weights of the epoch with the lowest validation loss.
    """
    progress = _Fit(job).run()
    return FitResult(
        epochs=progress.epoch,
        best_epoch=progress.best_epoch,
        seconds=progress.seconds,
        history=tuple(progress.history),
    )


def stored_outputs(
    kit: KitModules,
    store: PrefixStore,
    *,
    backbone: MoEBackbone,
    fabric: Fabric,
    task: TaskSpec,
    batch_size: int,
) -> Iterator[tuple[np.ndarray, Outputs]]:
    """Yields the rows of a store batch by batch with their merged outputs, on the CPU."""
    kit.eval()
    return _outputs(Trainee(kit, backbone, store), store, task, fabric, batch_size)


class _Fit:
    def __init__(self, job: FitJob) -> None:
        self.kit = cast(KitModules, job.kit)
        self.fabric = job.fabric
        self.train = cast(PrefixStore, job.train)
        self.val = cast(PrefixStore, job.val)
        self.recipe = job.recipe
        self.epochs = job.epochs
        self.seed = job.seed
        self.checkpoint = job.checkpoint
        self.on_epoch = job.on_epoch
        self.on_step = job.on_step
        self.task = job.task
        learn = job.task.learn
        self._learn = learn if learn.prepared is None else learn.prepared(job.train.samples)
        self._optimizer = torch.optim.AdamW(_parameter_groups(self.kit, self.recipe))
        self._average = copy.deepcopy(self.kit).requires_grad_(False)
        self._best = copy.deepcopy(self._average)
        self._scorer = Trainee(self._average, job.backbone, self.val)
        trainee = Trainee(self.kit, job.backbone, self.train)
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
            share = share_of_rate(done, self.recipe.warmup)
            for group in self._optimizer.param_groups:
                group["lr"] = group["peak"] * share
            torch.manual_seed((self.seed << 32) + number)
            state.loss_sum += self._step(rows, views, number)
            state.step += 1
            self.on_step(number + 1, len(batches) * self.epochs)
            if time.monotonic() - self._saved_at > _CHECKPOINT_SECONDS:
                self._save()

    def _step(self, rows: np.ndarray, views: np.ndarray, number: int) -> float:
        mine = slice(self.fabric.global_rank, None, self.fabric.world_size)
        x_BND, kept = self.fabric.to_device(self.train.read(rows[mine], views[mine]))
        targets = self.fabric.to_device(self._targets(self.train, rows[mine], views[mine]))
        trace = RoutingTrace() if self.recipe.balance_rate else None
        picture = _picture(self.kit, self.train, rows[mine], views[mine], self.fabric)
        outputs = self._trainee(x_BND, kept, trace, picture, targets)
        loss = self._learn.loss(outputs, targets, self.recipe)
        # Of all processes together, so that all of them stop if one must.
        mean = float(cast(Tensor, self.fabric.all_reduce(loss.detach(), reduce_op="mean")))
        _check_finite(mean, f"the loss of a batch in epoch {self._state.epoch + 1}")
        self.fabric.backward(loss)
        self._stepper.step()
        self._stepper.zero_grad()
        if trace is not None:
            self._balance(trace)
        self._update_average(number)
        return mean

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

    def _update_average(self, number: int) -> None:
        follow(self._average, self.kit, min(self.recipe.average, (1 + number) / (10 + number)))

    def _finish_epoch(self) -> bool:
        """Validates, keeps the best weights; returns whether patience has run out."""
        state = self._state
        loss, others = self._validate()
        _check_finite(loss, f"the validation loss after epoch {state.epoch + 1}")
        steps, state.step = state.step, 0
        state.epoch += 1
        state.seconds = time.monotonic() - self._began
        figures = {
            "epoch": state.epoch,
            "train_loss": state.loss_sum / max(steps, 1),
            "val_loss": loss,
            **{f"val_{name}": value for name, value in others.items()},
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

    def _validate(self) -> tuple[float, dict[str, float]]:
        """Loss and figures of the averaged weights on the validation split."""
        self._average.eval()
        outputs = _outputs(self._scorer, self.val, self.task, self.fabric, self.recipe.batch_size)
        totals, sums = collections.Counter[str](), collections.Counter[str]()
        for rows, merged in _joined(outputs):
            targets = self._targets(self.val, rows, np.zeros_like(rows))
            found = self._learn.figures(merged, targets)
            loss = float(self._learn.loss(merged, targets, self.recipe))
            for name, value in {"loss": loss, **found}.items():
                if name != "loss" and math.isnan(value):
                    sums[name] += 0  # undefined on these rows, so the others say it
                    continue
                totals[name] += len(rows)
                sums[name] += value * len(rows)  # type: ignore[assignment]
        means = {
            name: value / totals[name] if totals[name] else math.nan for name, value in sums.items()
        }
        return means.pop("loss"), means

    def _targets(self, store: PrefixStore, rows: np.ndarray, views: np.ndarray) -> Outputs:
        samples = [store.samples[row] for row in rows]
        numbers = np.asarray(store.plan.numbers)[views]
        return self._learn.targets(samples, numbers, store.frame)

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
def _outputs(
    scorer: Trainee, store: PrefixStore, task: TaskSpec, fabric: Fabric, batch_size: int
) -> Iterator[tuple[np.ndarray, Outputs]]:
    """Yields rows and their outputs in the order of the store, merged over its views."""
    for start in range(0, len(store), batch_size):
        rows = np.arange(start, min(start + batch_size, len(store)))
        views = []
        for place, number in enumerate(store.plan.numbers):
            x_BND, kept = fabric.to_device(store.read(rows, np.full_like(rows, place)))
            picture = _picture(scorer.kit, store, rows, np.full_like(rows, place), fabric)
            with fabric.autocast():
                outputs = scorer(x_BND, kept, picture=picture)
            plain = {name: _plain(value) for name, value in outputs.items()}
            views.append(turned_back(plain, task, number))
        yield rows, task.answering.merge(views)


def _picture(
    kit: KitModules, store: PrefixStore, rows: np.ndarray, views: np.ndarray, fabric: Fabric
) -> Tensor | None:
    """The normalised inputs of samples, each in a view, for a head that reads them."""
    return fabric.to_device(store.pictures(rows, views)) if kit.reads_picture else None


def _check_finite(loss: float, whose: str) -> None:
    """Stops a training whose weights are lost: what follows is not finite either."""
    if math.isfinite(loss):
        return
    raise WeightsError(
        f"{whose} is {loss}, so the weights are lost",
        whose="the training",
        fix="choose lower rates or the precision fp32, and begin again without --resume",
        code="weights/not-finite",
    )


def _plain(value: Tensor) -> Tensor:
    return (value.float() if value.is_floating_point() else value).cpu()


def _joined(
    batches: Iterable[tuple[np.ndarray, Outputs]],
) -> Iterator[tuple[np.ndarray, Outputs]]:
    """Batches put together as long as they are small, so that most splits are one."""
    waiting: list[tuple[np.ndarray, Outputs]] = []
    size = 0
    for rows, outputs in batches:
        waiting.append((rows, outputs))
        size += sum(value.numel() for value in outputs.values())
        if size > _TOGETHER:
            yield _join(waiting)
            waiting, size = [], 0
    if waiting:
        yield _join(waiting)


def _join(batches: Sequence[tuple[np.ndarray, Outputs]]) -> tuple[np.ndarray, Outputs]:
    names = batches[0][1]
    return np.concatenate([rows for rows, _ in batches]), {
        name: torch.cat([outputs[name] for _, outputs in batches]) for name in names
    }


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

"""Fitting a model with anomalib's engine, leaving nothing behind."""

from __future__ import annotations

import dataclasses
import tempfile
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback

from moekit import DataError, MoekitError, PluginError, UsageError
from moekit_industrial.bridge.batches import Batches, GoodParts
from moekit_industrial.bridge.library import (
    AnomalibModule,
    Engine,
    MemoryBankMixin,
    first_line,
    quiet,
)
from moekit_industrial.bridge.resources import Clock, Used

_STORE = "embedding_store"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fitting:
    """How a model is fitted.

    Attributes:
        device: Where.
        max_steps: Optimiser steps after which training ends, even if the model wants more; None for
            the model's own number.
        presample: Patch embeddings that are kept, drawn at random, before a model thins out its
            memory bank; None for all.
        seed: Decides all that is drawn.
    """

    device: torch.device
    max_steps: int | None = None
    presample: int | None = None
    seed: int = 0


def fit_model(model: AnomalibModule, train: Batches, val: Batches, task: Fitting) -> Used:
    """Fits a model; it is in eval mode on `task.device` afterwards.

    Validation batches are shown only to models that have no memory bank, since anomalib would score
    them for nothing.

    Returns:
        The time that it took, reading the images included.

    Raises:
        UsageError: `presample` for a model that has no store of embeddings.
        DataError: Not one training image could be read.
        PluginError: The model fails.
    """
    if task.presample is not None and not isinstance(getattr(model.model, _STORE, None), list):
        raise UsageError(
            f"{type(model).__name__} keeps no embeddings that could be drawn from",
            whose="--presample",
            fix="leave the option out",
            code="usage/option-conflict",
        )
    callbacks: list[Callback] = []
    if task.presample is not None:
        callbacks.append(_Presample(task.presample, task.seed))
    if task.max_steps is not None:
        callbacks.append(_StopAfter(task.max_steps))
    parts = GoodParts(train, None if isinstance(model, MemoryBankMixin) else val)
    with tempfile.TemporaryDirectory() as scratch, quiet():
        engine = Engine(
            callbacks=callbacks,
            logger=False,
            default_root_dir=scratch,
            barebones=True,
            accelerator="gpu" if task.device.type == "cuda" else task.device.type,
            devices=1 if task.device.index is None else [task.device.index],
        )
        clock = Clock()
        try:
            engine.fit(model, datamodule=parts)
        except (MoekitError, KeyboardInterrupt, MemoryError):
            raise
        except Exception as error:  # a model may raise anything
            if len(train.skipped) == train.count:
                raise DataError(
                    "not one training image could be read",
                    whose="the train split",
                    fix=f"check the images; the first fault: "
                    f"{next(iter(train.skipped.values())).reason}",
                    code="data/none-readable",
                ) from error
            raise PluginError(
                f"{type(model).__name__} failed while it was fitted "
                f"({type(error).__name__}: {first_line(error)})",
                whose="anomalib",
                fix="change the model's arguments (--set), or choose another model",
                code="plugin/model-failed",
            ) from error
        used = clock.read()
    model.to(task.device).eval()
    return used


class _Presample(Callback):
    """Draws from the embeddings of a memory bank before the model thins it out itself."""

    def __init__(self, count: int, seed: int) -> None:
        self._count = count
        self._seed = seed

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        del trainer
        store: list[torch.Tensor] = getattr(pl_module.model, _STORE)
        sizes = [len(part) for part in store]
        if sum(sizes) <= self._count:
            return
        generator = torch.Generator().manual_seed(self._seed)
        kept = torch.zeros(sum(sizes), dtype=torch.bool)
        kept[torch.randperm(len(kept), generator=generator)[: self._count]] = True
        # In place, part by part, so that no second copy of the whole is made.
        for place, rows in enumerate(torch.split(kept, sizes)):
            store[place] = store[place][rows.to(store[place].device)]


class _StopAfter(Callback):
    def __init__(self, steps: int) -> None:
        self._steps = steps

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step >= self._steps:
            trainer.should_stop = True

"""Training a peer for as long as the kit took."""

from __future__ import annotations

import copy
import math
import os
import sys
import time

import torch
from torch import nn

from tests.benchmarks.task_child import peak_gib

DECAY = 0.01
WARMUP, LEAST, AVERAGE = 0.05, 0.01, 0.99


def train_for(seconds, model, loss_of, *, groups, count, batch, generator, name, clip=None):
    """Trains for a time; returns the averaged weights as a model, and how many steps it took.

    Args:
        seconds: Of wall time; the rates fall to nothing towards their end.
        model: The network, trained in place.
        loss_of: Gives the loss of the pictures at some places, a list of `batch` numbers.
        groups: Parameters and peak rates, as pairs.
        count: How many pictures there are.
        batch: Pictures a step.
        generator: Of numpy, for the order.
        name: For progress.
        clip: Greatest norm of the gradient; None for any.
    """
    optimizer = torch.optim.AdamW(
        [{"params": list(params), "peak": peak} for params, peak in groups], weight_decay=DECAY
    )
    average, steps, began, order = copy.deepcopy(model), 0, time.perf_counter(), []
    model.train()
    while (done := (time.perf_counter() - began) / seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * share_of_rate(done)
        if len(order) < batch:
            order = generator.permutation(count).tolist()
        value = loss_of([order.pop() for _ in range(batch)])
        optimizer.zero_grad()
        value.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        _update(average, model, min(AVERAGE, (1 + steps) / (10 + steps)))
        steps += 1
        if steps % 20 == 1:
            loss = float(value.detach())
            sys.stderr.write(f"{name}: {done:.0%}, step {steps}, loss {loss:.3f}\n")
    return average.eval(), {"steps": steps, "epochs": steps * batch / count}


def share_of_rate(done):
    """Linear warm-up, then a half cosine, as the kit's."""
    if done < WARMUP:
        return max(done / WARMUP, LEAST)
    return LEAST + (1 - LEAST) * 0.5 * (1 + math.cos(math.pi * (done - WARMUP) / (1 - WARMUP)))


@torch.no_grad()
def _update(average, model, decay):
    for ours, theirs in zip(average.parameters(), model.parameters(), strict=True):
        ours.lerp_(theirs, 1 - decay)
    for ours, theirs in zip(average.buffers(), model.buffers(), strict=True):
        ours.copy_(theirs)


def facts_of(model, *, began, worked):
    """What a training cost.

    Args:
        model: The network.
        began: `time.perf_counter()` before it.
        worked: `time.process_time()` before it.
    """
    return {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - worked,
        "peak_gib": peak_gib(),
        "threads": torch.get_num_threads(),
        "load_average": os.getloadavg()[0],
        "parameters": sum(value.numel() for value in model.parameters()),
    }

"""How a training goes on step by step: the share of its rate, and the averaged copy."""

from __future__ import annotations

import math

import torch
from torch import nn

_LEAST_RATE = 0.01


def share_of_rate(done: float, warmup: float) -> float:
    """Linear warm-up, then a half cosine down to a hundredth of the peak rate.

    Args:
        done: Share of the steps that are done, 0 to 1.
        warmup: Share of the steps that the rate rises in.
    """
    if done < warmup:
        return max(done / warmup, _LEAST_RATE)
    cosine = 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup)))
    return _LEAST_RATE + (1 - _LEAST_RATE) * cosine


@torch.no_grad()
def follow(average: nn.Module, learner: nn.Module, decay: float) -> None:
    """Moves an averaged copy towards the weights that are learned; buffers are copied.

    Args:
        average: The copy.
        learner: The module that it is a copy of.
        decay: What the copy keeps of itself, 0 to 1.
    """
    for mean, now in zip(average.parameters(), learner.parameters(), strict=True):
        mean.lerp_(now, 1 - decay)
    for kept, buffer in zip(average.buffers(), learner.buffers(), strict=True):
        kept.copy_(buffer)

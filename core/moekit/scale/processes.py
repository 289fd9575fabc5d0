"""The processes of a training that no wrapper of Lightning surrounds; one if there is no group."""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor


def processes() -> int:
    """How many there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """The number of this one."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_first() -> bool:
    """Whether this one writes files."""
    return rank() == 0


def wait() -> None:
    """Waits until all have come here."""
    if dist.is_initialized():
        dist.barrier()


def mean_of(value: Tensor) -> Tensor:
    """The mean of a tensor over all of them."""
    if not dist.is_initialized():
        return value
    total = value.clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()

"""What a kit's head is called with on stored activations, for a `fit` that trains nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import numpy as np
from torch import Tensor, nn

from moekit.contract.jobs import FitJob, StoredPrefix


def head_inputs(
    job: FitJob, store: StoredPrefix, view: int, *, batch_size: int
) -> Iterator[tuple[np.ndarray, tuple[Any, ...]]]:
    """Yields the rows of a store batch by batch, with the arguments of the head's call.

    Args:
        job: Gives the kit, the backbone and the device.
        store: The stored split.
        view: Which of its views.
        batch_size: Samples a pass.
    """
    seen: list[tuple[Any, ...]] = []

    def note(module: nn.Module, given: tuple[Any, ...]) -> None:
        del module
        seen.append(given)

    top_k = getattr(getattr(store, "plan", None), "top_k", None)
    head = cast(nn.Module, job.kit.head)
    handle = head.register_forward_pre_hook(note)
    try:
        for start in range(0, len(store), batch_size):
            rows = np.arange(start, min(start + batch_size, len(store)))
            x_BND, kept = job.fabric.to_device(store.read(rows, np.full_like(rows, view)))
            stored: Mapping[int, Tensor] = {block: value.float() for block, value in kept.items()}
            with job.fabric.autocast():
                job.kit(job.backbone, x_BND.float(), stored, store.grid, top_k=top_k)
            yield rows, seen.pop()
    finally:
        handle.remove()

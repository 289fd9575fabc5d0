"""Whether a graph in int8 is faster than the same graph in float32 on this machine.

Quantised products pay if the processor has instructions for them (VNNI, AMX); elsewhere they
cost more than they save. Both graphs run in turn, so that other programs slow both alike.

Shapes: B images or stacks.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from torch import Tensor

from moekit.errors import MoekitError
from moekit.runtime.predictor import Compute

_BATCH, _ROUNDS, _LEAST_SECONDS, _MOST_ROUNDS = 4, 5, 1.0, 50


def check_faster(
    images: Tensor,
    *,
    fp32: Compute,
    int8: Compute,
    whose: str,
    allow_slower: bool,
    on_progress: Callable[[str, int, int], None],
) -> dict[str, Any]:
    """Times both graphs on the same images.

    Args:
        images: (B, ...) normalised images or stacks, at least one; four at most are used.
        fp32: The graph in float32.
        int8: The quantised one.
        whose: The export, for the error.
        allow_slower: Whether a graph that is no faster is taken all the same.
        on_progress: Called with a description, the rounds done and the least number of them.

    Returns:
        For the record: `ratio`, the median over the rounds of float32's time by int8's, its
        quartiles, and how it was measured.

    Raises:
        MoekitError: int8 is not faster.
    """
    batch = images[:_BATCH]
    for compute in (fp32, int8):
        compute(batch)
    ratios: list[float] = []
    began = time.perf_counter()
    while len(ratios) < _ROUNDS or (
        time.perf_counter() - began < _LEAST_SECONDS and len(ratios) < _MOST_ROUNDS
    ):
        on_progress("timing int8", min(len(ratios), _ROUNDS), _ROUNDS)
        ratios.append(_seconds(fp32, batch) / _seconds(int8, batch))
    on_progress("timing int8", _ROUNDS, _ROUNDS)
    ratio = statistics.median(ratios)
    if ratio <= 1 and not allow_slower:
        raise MoekitError(
            f"int8 is {ratio:.2f} times as fast as float32 on this machine (median of "
            f"{len(ratios)} rounds)",
            whose=whose,
            fix="export without --int8; if another machine will run it, give --allow-slower",
            code="error/int8-slower",
        )
    return {
        "ratio": ratio,
        "ratio_quartiles": statistics.quantiles(ratios, n=4)[::2],
        "rounds": len(ratios),
        "batch_size": len(batch),
    }


def _seconds(compute: Compute, batch: Tensor) -> float:
    began = time.perf_counter()
    compute(batch)
    return time.perf_counter() - began

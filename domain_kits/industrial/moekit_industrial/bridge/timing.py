"""Fitted models timed in turn, on a machine that others use too."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from torch import Tensor

from moekit import UsageError
from moekit.bench.timing import Timing, compare
from moekit_industrial.bridge.library import AnomalibModule
from moekit_industrial.bridge.scores import raw_output


def time_models(
    models: Mapping[str, AnomalibModule], batches: Mapping[str, Tensor], *, seconds: float
) -> dict[str, Timing]:
    """Times a forward pass of each model, round by round; ratios are to the first of them.

    Args:
        models: Fitted, on one device, by name.
        batches: Of each model one batch of normalised images (B, 3, H, W), by the same names.
        seconds: How long to go on, all models together; five rounds at least.

    Returns:
        A timing a model, of one batch.

    Raises:
        UsageError: There is no model.
    """
    if not models:
        raise UsageError("there is no model to time", whose="models", fix="name a fitted one")
    calls = {
        name: functools.partial(_score, model, batches[name]) for name, model in models.items()
    }
    return compare(calls, baseline=next(iter(models)), seconds=seconds)


def _score(model: AnomalibModule, images_B3HW: Tensor, number: int) -> object:
    del number
    return raw_output(model, images_B3HW)

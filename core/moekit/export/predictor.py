"""An exported kit, called as `moekit.runtime.predictor.Predictor` is.

Shapes: B images or stacks.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from moekit.contract.outputs import Outputs
from moekit.contract.tasks import TaskSpec
from moekit.export.sessions import Session
from moekit.moe.stats import RoutingTrace
from moekit.runtime.predictor import Computed, converted

ExportPrecision = Literal["fp32", "int8"]


class ExportedPredictor:
    """Computes by a graph in another runtime.

    Args:
        session: The loaded graph, whose outputs bear the short names of the task's fields.
        task: What is answered.
        precision: The graph's arithmetic.
    """

    def __init__(self, session: Session, *, task: TaskSpec, precision: ExportPrecision) -> None:
        self._session = session
        self.task = task
        self.arithmetic = precision

    def __call__(self, images: Tensor, *, trace: RoutingTrace | None = None) -> Computed:
        """Normalised images (B, 3, H, W) or stacks (B, T, 3, H, W); there is no baseline."""
        del trace
        began = time.perf_counter()
        found = self._session(images.float().cpu().numpy())
        seconds = time.perf_counter() - began
        return Computed(outputs=(outputs_of(found, self.task),), seconds=seconds)


def outputs_of(found: Mapping[str, np.ndarray], task: TaskSpec) -> Outputs:
    """A task's outputs, of what a graph gives by their short names."""
    named = {
        field.name: torch.from_numpy(found[field.short])
        for field in task.outputs
        if field.short in found
    }
    return converted(named, task)

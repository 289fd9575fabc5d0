"""A trained kit, ready to answer images: loaded once, called batch by batch.

Shapes: B images or stacks, T frames of a stack, N tokens, D width.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from moekit.backbone.model import MoEBackbone
from moekit.contract.outputs import Outputs
from moekit.contract.tasks import TaskSpec
from moekit.data.views import unview, view
from moekit.moe.stats import RoutingTrace
from moekit.runtime.cells import cells_of
from moekit.runtime.device import Arithmetic, autocast
from moekit.runtime.kit import KitModules

_DTYPES = {"float64": torch.float64, "float32": torch.float32, "int64": torch.int64}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Computed:
    """What a batch was computed to, on the CPU.

    Attributes:
        outputs: The merged outputs of each model: the kit, then, as far as they are asked for, the
            baseline and the mean of both.
        seconds: Time that the kit took, the baseline not counted.
        cells: What the frozen blocks say of each input, as of `cells_of`; None if nobody asked.
    """

    outputs: tuple[Outputs, ...]
    seconds: float
    cells: np.ndarray | None = None

    @property
    def kit(self) -> Outputs:
        """The kit's outputs."""
        return self.outputs[0]


class Compute(Protocol):
    """What computes a batch of normalised images or stacks: a `Predictor`, or an export of one."""

    def __call__(self, images: Tensor, *, trace: RoutingTrace | None = None) -> Computed:
        """Computes (B, 3, H, W) images, or (B, T, 3, H, W) stacks of neighbouring frames.

        Args:
            images: On any device.
            trace: Collects the routing of the backbone and the kit if one is given; exports have
                none to tell.
        """
        ...


def converted(outputs: Mapping[str, Tensor], task: TaskSpec) -> Outputs:
    """A head's outputs on the CPU, each in the type that its task says; others are left out."""
    return {
        field.name: outputs[field.name].to(_DTYPES[field.dtype]).cpu()
        for field in task.outputs
        if field.name in outputs
    }


def turned_back(outputs: Outputs, task: TaskSpec, number: int) -> Outputs:
    """The outputs of a view, with the fields that turn lying as the picture itself does."""
    if number == 0:
        return outputs
    turning = {field.name for field in task.outputs if field.turns}
    return {
        name: unview(value, number) if name in turning else value for name, value in outputs.items()
    }


class Predictor:
    """A kit, and optionally its baseline, on one backbone.

    Args:
        backbone: The shared backbone.
        kit: The trained kit.
        baseline: The trained baseline, or None.
        mean: Whether the merged outputs of kit and baseline are given: `beside` those of each, or
            `alone`; None for not at all.
        task: What the kit answers.
        arithmetic: fp32 or bf16.
        views: Flipped and turned views of each image whose outputs are merged: how many of the
            dihedral order, or their numbers.
        top_k: Generic experts a token has in these passes; as the backbone says if None.

    Attributes:
        backbone: The shared backbone.
        kit: The trained kit.
        task: What the kit answers.
        arithmetic: fp32 or bf16.
        views: The numbers of the views that an image is answered by.
        top_k: Generic experts a token has.
        device: Where all of it lies.
        with_cells: Whether what the frozen blocks say is handed on too; set by who wants it.
    """

    def __init__(
        self,
        *,
        backbone: MoEBackbone,
        kit: KitModules,
        baseline: KitModules | None,
        task: TaskSpec,
        arithmetic: Arithmetic,
        views: int | Sequence[int] = 1,
        top_k: int | None = None,
        mean: Literal["beside", "alone"] | None = None,
    ) -> None:
        self.backbone = backbone
        self.kit = kit.eval()
        self._baseline = None if baseline is None else baseline.eval()
        self._mean = mean
        self.task = task
        self.arithmetic: Arithmetic = arithmetic
        self.views = tuple(range(views)) if isinstance(views, int) else tuple(views)
        self.top_k = backbone.top_k if top_k is None else top_k
        self.device = next(backbone.parameters()).device
        self.with_cells = False

    @torch.inference_mode()
    def __call__(self, images: Tensor, *, trace: RoutingTrace | None = None) -> Computed:
        """See `Compute`."""
        images = images.to(self.device, non_blocking=True)
        passes = [self._view(images, self.views[0], trace)]
        passes += [self._view(images, number) for number in self.views[1:]]
        merge = self.task.answering.merge
        models = zip(*(one.outputs for one in passes), strict=True)
        outputs = tuple(merge(views) for views in models)
        if self._mean is not None:
            both = merge(outputs)
            outputs = (both,) if self._mean == "alone" else (*outputs, both)
        return Computed(
            outputs=outputs,
            seconds=sum(one.seconds for one in passes),
            cells=passes[0].cells,
        )

    def _view(self, images: Tensor, number: int, trace: RoutingTrace | None = None) -> Computed:
        kit, backbone, top_k = self.kit, self.backbone, self.top_k
        began = time.perf_counter()
        if number:
            images = view(images, number)
        with autocast(self.device, self.arithmetic):
            x_BND, grid = backbone.embed(images)
            x_BND, kept = backbone.run_blocks(
                x_BND, grid, stop=kit.prefix_end, keep=kit.prefix_keep, top_k=top_k, trace=trace
            )
            output = kit(backbone, x_BND, kept, grid, top_k=top_k, trace=trace)
            outputs = [turned_back(converted(output, self.task), self.task, number)]
            seconds = time.perf_counter() - began
            if self._baseline is not None:
                bare = self._baseline(
                    backbone, x_BND, kept, grid, start=kit.prefix_end, top_k=top_k
                )
                outputs.append(turned_back(converted(bare, self.task), self.task, number))
        cells = cells_of(x_BND, grid) if self.with_cells and number == self.views[0] else None
        return Computed(outputs=tuple(outputs), seconds=seconds, cells=cells)

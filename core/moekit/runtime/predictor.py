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

from moekit.backbone.features import Features
from moekit.backbone.model import MoEBackbone
from moekit.contract.outputs import Outputs
from moekit.contract.tasks import TaskSpec
from moekit.data.views import unview, view
from moekit.moe.stats import RoutingTrace
from moekit.moe.tokens import TokenRouting
from moekit.runtime.cells import cells_of
from moekit.runtime.device import Arithmetic, autocast
from moekit.runtime.fields import check_fields
from moekit.runtime.kit import KitModules
from moekit.runtime.side import SideKit, run_sides
from moekit.runtime.trunk import Stop, walk

_DTYPES = {"float64": torch.float64, "float32": torch.float32, "int64": torch.int64}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Computed:
    """What a batch was computed to, on the CPU.

    Attributes:
        outputs: The merged outputs of each model: the kit, then, as far as they are asked for, the
            baseline and the mean of both.
        seconds: Time that the kit took, the baseline not counted.
        cells: What the frozen blocks say of each input, as of `cells_of`; None if nobody asked.
        reused: Windows of a picture that took the answer of another, as they are flat.
    """

    outputs: tuple[Outputs, ...]
    seconds: float
    cells: np.ndarray | None = None
    reused: int = 0

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
    turned = dict(outputs)
    for field in task.outputs:
        if field.turns and field.name in turned:
            turn = unview if field.turns is True else field.turns
            turned[field.name] = turn(turned[field.name], number)
    return turned


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
        tokens: Which tokens the blocks before the models' own compute; all if None.

    Attributes:
        backbone: The shared backbone.
        kit: The trained kit.
        models: The kit, then the baseline if there is one.
        task: What the kit answers.
        arithmetic: fp32 or bf16.
        views: The numbers of the views that an image is answered by.
        top_k: Generic experts a token has.
        tokens: Which tokens are computed; all if None.
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
        tokens: TokenRouting | None = None,
        mean: Literal["beside", "alone"] | None = None,
    ) -> None:
        self.backbone = backbone
        self.kit = kit.eval()
        own = (self.kit,) if baseline is None else (self.kit, baseline.eval())
        self.models: tuple[KitModules, ...] = own
        self._mean = mean
        self.task = task
        self.arithmetic: Arithmetic = arithmetic
        self.views = tuple(range(views)) if isinstance(views, int) else tuple(views)
        self.top_k = backbone.top_k if top_k is None else top_k
        self.tokens = tokens
        self.device = next(backbone.parameters()).device
        self.with_cells = False

    @property
    def averaged(self) -> KitModules | None:
        """The baseline whose merged outputs with the kit's are the only ones that are given."""
        return self.models[1] if self._mean == "alone" else None

    @torch.inference_mode()
    def __call__(self, images: Tensor, *, trace: RoutingTrace | None = None) -> Computed:
        """See `Compute`."""
        images = images.to(self.device, non_blocking=True)
        passes = [self._view(images, self.views[0], trace)]
        passes += [self._view(images, number) for number in self.views[1:]]
        return Computed(
            outputs=self.merged([one.outputs for one in passes]),
            seconds=sum(one.seconds for one in passes),
            cells=passes[0].cells,
        )

    @torch.inference_mode()
    def by_view(
        self, images: Tensor, number: int, *, trace: RoutingTrace | None = None
    ) -> Computed:
        """The outputs of each of `models` for one view of images; see `merged`."""
        return self._view(images.to(self.device, non_blocking=True), number, trace)

    @torch.inference_mode()
    def routed(self, images: Tensor) -> RoutingTrace:
        """The routing of the backbone and the kit for the first view of images; see `Compute`."""
        trace = RoutingTrace()
        self._view(images.to(self.device, non_blocking=True), self.views[0], trace, models=1)
        return trace

    @torch.inference_mode()
    def features(self, images: Tensor, *, trace: RoutingTrace | None = None) -> Features:
        """The backbone's features with the kit's specialists; see `Runtime.features`."""
        model, backbone = self.kit, self.backbone
        last = len(backbone.blocks) - 1
        keep = (*model.branches, last) if model.is_side else ()
        features: Features = backbone(
            images, branches=model.in_trunk, keep=keep, trace=trace, top_k=self.top_k
        )
        if not model.is_side:
            return features
        whole = SideKit(model.branches, (last,))
        (side,) = run_sides([whole], features.blocks, backbone, features.grid, trace=trace)
        if side.failed is not None:
            raise side.failed
        final_BND = backbone.stem.norm(side.tokens[last])
        return dataclasses.replace(features, final_BND=final_BND, blocks={})

    def outputs_at(
        self, stop: Stop, model: int, number: int, *, trace: RoutingTrace | None = None
    ) -> Outputs:
        """A model's outputs for one view, on the CPU, lying as the pictures do.

        Args:
            stop: Where the trunk stands; its tokens are those of the view.
            model: The place in `models`.
            number: Of the view.
            trace: Collects the routing of the model's own blocks if one is given.

        Raises:
            PluginError: A part of a plugin fails, or the head returns what it must not.
        """
        if stop.failed is not None:
            raise stop.failed
        output = self.models[model](
            self.backbone,
            stop.x_BND,
            stop.kept,
            stop.grid,
            start=stop.start,
            bare=stop.bare,
            top_k=self.top_k,
            trace=trace,
            picture=stop.picture,
            read=stop.read,
        )
        check_fields(output, self.task, self.models[model])
        return turned_back(converted(output, self.task), self.task, number)

    def merged(self, views: Sequence[Sequence[Outputs]]) -> tuple[Outputs, ...]:
        """The merged outputs of each model; see `Computed.outputs`.

        Args:
            views: For each view, in the order of `views`, the outputs of each of `models`.
        """
        merge = self.task.answering.merge
        outputs = tuple(merge(of_model) for of_model in zip(*views, strict=True))
        if self._mean is None:
            return outputs
        both = merge(outputs)
        return (both,) if self._mean == "alone" else (*outputs, both)

    def _view(
        self,
        images: Tensor,
        number: int,
        trace: RoutingTrace | None = None,
        *,
        models: int | None = None,
    ) -> Computed:
        """Computes one view by the first `models`; by all if None."""
        began = time.perf_counter()
        seconds = 0.0
        cells = None
        outputs: list[Outputs] = []  # the kit's first, since it starts no later than its baseline
        if number:
            images = view(images, number)
        with autocast(self.device, self.arithmetic):
            for stop in walk(
                self.backbone,
                images,
                self.models[:models],
                top_k=self.top_k,
                tokens=self.tokens,
                trace=trace,
            ):
                of_kit = stop.model == 0
                outputs.append(
                    self.outputs_at(stop, stop.model, number, trace=trace if of_kit else None)
                )
                if of_kit:
                    seconds = time.perf_counter() - began
                    if self.with_cells and number == self.views[0]:
                        cells = cells_of(stop.x_BND, stop.grid)
        return Computed(outputs=tuple(outputs), seconds=seconds, cells=cells)

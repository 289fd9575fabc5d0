"""A trained kit and its backbone as one module from images to outputs.

Shapes: B images or stacks, T frames of a stack, V views, h and w rows and columns of the patch
grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from moekit.backbone.model import MoEBackbone
from moekit.contract.outputs import Field, Outputs
from moekit.contract.tasks import TaskSpec
from moekit.data.views import view
from moekit.export.forms import in_export_form
from moekit.export.positions import fix_positions
from moekit.export.tokens import routed_blocks
from moekit.moe.specialists import Grid
from moekit.moe.tokens import TokenRouting
from moekit.runtime.kit import KitModules
from moekit.runtime.predictor import Predictor, turned_back


class KitProgram(nn.Module):
    """What `Predictor` computes in float32 on a CPU, the merging of views included.

    The views of an image go through the backbone as one batch of V * B, and their outputs are
    merged inside: who calls a graph made from it gives the images as they are.

    Args:
        backbone: The shared backbone.
        kit: The trained kit. Of both the export form is taken, which shares their weights.
        task: What the kit answers.
        views: The numbers of the views.
        top_k: Generic experts a token has.
        shape: Of one sample: (3, H, W), or (T, 3, H, W) of a stack.
        baseline: The trained baseline if the mean of both answers; it goes on from the kit's
            prefix, so the graph holds that once.
        tokens: Which tokens are computed in that prefix; all if None.

    Raises:
        UsageError: No graph can hold how tokens are routed.
    """

    def __init__(
        self,
        *,
        backbone: MoEBackbone,
        kit: KitModules,
        task: TaskSpec,
        views: Sequence[int],
        top_k: int,
        shape: Sequence[int],
        baseline: KitModules | None = None,
        tokens: TokenRouting | None = None,
    ) -> None:
        super().__init__()
        self.backbone = cast(MoEBackbone, in_export_form(backbone))
        rows, columns = (side // backbone.patch for side in shape[-2:])
        fix_positions(self.backbone.stem, rows, columns)
        self.routed = None
        if tokens is not None and not tokens.keeps_all:
            self.routed = routed_blocks(tokens, Grid(rows, columns), backbone.prefix_tokens)
        self.kit = cast(KitModules, in_export_form(kit))
        self.baseline = None if baseline is None else cast(KitModules, in_export_form(baseline))
        self.views = tuple(views)
        self.top_k, self._task = top_k, task
        self.eval()

    @classmethod
    def of(cls, predictor: Predictor, shape: Sequence[int]) -> KitProgram:
        """The program of a predictor, for samples of one shape."""
        return cls(
            backbone=predictor.backbone,
            kit=predictor.kit,
            task=predictor.task,
            views=predictor.views,
            top_k=predictor.top_k,
            shape=shape,
            baseline=predictor.averaged,
            tokens=predictor.tokens,
        )

    @property
    def fields(self) -> tuple[Field, ...]:
        """What it may put out, in order: what is derived from the task's outputs, then these."""
        return (*self._task.derived, *self._task.outputs)

    def seen(self, images: Tensor) -> Tensor:
        """(V * B, ...) the views of images."""
        if len(self.views) == 1:
            return images
        return torch.cat([view(images, number) for number in self.views])

    def forward(self, images: Tensor) -> tuple[Tensor | None, ...]:
        """Normalised images (B, 3, H, W) or stacks (B, T, 3, H, W), float32, to `fields`.

        None stands in the place of a field that the head leaves out.
        """
        seen = self.seen(images)
        x_BND, grid = self.backbone.embed(seen)
        keep, top_k = self.kit.prefix_keep, self.top_k
        if self.routed is None:
            x_BND, kept = self.backbone.run_blocks(
                x_BND, grid, stop=self.kit.prefix_end, keep=keep, top_k=top_k
            )
        else:
            x_BND, kept = self.routed(self.backbone, x_BND, grid, seen, keep=keep, top_k=top_k)
        outputs = [self.kit(self.backbone, x_BND, kept, grid, top_k=top_k, picture=seen)]
        if self.baseline is not None:
            bare = self.baseline(
                self.backbone,
                x_BND,
                kept,
                grid,
                start=self.kit.prefix_end,
                top_k=top_k,
                picture=seen,
            )
            outputs.append(bare)
        return self.merged(outputs)

    def merged(self, models: Sequence[Outputs]) -> tuple[Tensor | None, ...]:
        """The `fields`, of the outputs of each model for all views."""
        merge = self._task.answering.merge
        of_models = [merge(self._of_views(outputs)) for outputs in models]
        merged = of_models[0] if len(of_models) == 1 else merge(of_models)
        named = {**merged, **self._task.answering.derive(merged)}
        return tuple(named.get(field.name) for field in self.fields)

    def _of_views(self, outputs: Outputs) -> list[Outputs]:
        """Of (V * B, ...) outputs those of each view, (B, ...)."""
        if len(self.views) == 1:
            return [outputs]
        apart = {
            name: torch.unflatten(value, 0, (len(self.views), -1))
            for name, value in outputs.items()
        }
        return [
            turned_back({name: value[place] for name, value in apart.items()}, self._task, number)
            for place, number in enumerate(self.views)
        ]

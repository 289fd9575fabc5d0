"""A trained kit, ready to score images: loaded once, called batch by batch.

Shapes: B images or stacks, T frames of a stack, N tokens, D width, h and w rows and columns of the
patch grid.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from moekit.backbone.model import MoEBackbone
from moekit.data.views import view
from moekit.moe.stats import RoutingTrace
from moekit.runtime.device import Arithmetic, autocast
from moekit.runtime.kit import KitModules


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scores:
    """What a predictor returns for a batch, on the CPU.

    Attributes:
        score_B: (B,) float64 probability of the positive class.
        map_BHW: (B, h, w) float32 in [0, 1], evidence of each patch, or None.
        baseline_B: (B,) float64 the same from the bare backbone with the same head, or None.
        baseline_map_BHW: (B, h, w) float32 the baseline's evidence, or None.
        seconds: Time that the kit took, the baseline not counted.
        kinds: (B) names of the kinds of image, "unknown" for none that was trained on; None where
            the kit does not tell kinds apart.
    """

    score_B: Tensor
    map_BHW: Tensor | None
    baseline_B: Tensor | None
    baseline_map_BHW: Tensor | None
    seconds: float
    kinds: tuple[str, ...] | None = None


Scorer = Callable[[Tensor], Scores]
"""What scores a batch of normalised images or stacks: a `Predictor`, or an export of one."""


class _View(NamedTuple):
    """Log-odds and maps of one view, those of the baseline, and the time that the kit took."""

    logit_B: Tensor
    map_BHW: Tensor | None
    bare_B: Tensor | None
    bare_BHW: Tensor | None
    seconds: float
    kinds: tuple[str, ...] | None


class Predictor:
    """A kit, and optionally its baseline, on one backbone.

    Args:
        backbone: The shared backbone.
        kit: The trained kit.
        baseline: The trained baseline, or None.
        arithmetic: fp32 or bf16.
        views: Flipped and turned views of each image whose log-odds are averaged; maps are those of
            the image as it is.

    Attributes:
        backbone: The shared backbone.
        kit: The trained kit.
        arithmetic: fp32 or bf16.
        views: How many views an image is scored by.
        device: Where all of it lies.
    """

    def __init__(
        self,
        *,
        backbone: MoEBackbone,
        kit: KitModules,
        baseline: KitModules | None,
        arithmetic: Arithmetic,
        views: int = 1,
    ) -> None:
        self.backbone = backbone
        self.kit = kit.eval()
        self._baseline = None if baseline is None else baseline.eval()
        self.arithmetic: Arithmetic = arithmetic
        self.views = views
        self.device = next(backbone.parameters()).device

    @torch.inference_mode()
    def __call__(self, images: Tensor, *, trace: RoutingTrace | None = None) -> Scores:
        """Scores normalised images (B, 3, H, W), or stacks (B, T, 3, H, W) of neighbouring frames.

        Args:
            images: On any device.
            trace: Collects the routing of the backbone and the kit where one is given.
        """
        images = images.to(self.device, non_blocking=True)
        first = self._view(images, trace)
        others = [self._view(view(images, number)) for number in range(1, self.views)]
        logits = torch.stack([first.logit_B, *(other.logit_B for other in others)])
        bare = [one.bare_B for one in (first, *others) if one.bare_B is not None]
        return Scores(
            score_B=logits.mean(0).sigmoid(),
            map_BHW=first.map_BHW,
            baseline_B=torch.stack(bare).mean(0).sigmoid() if bare else None,
            baseline_map_BHW=first.bare_BHW,
            seconds=sum(one.seconds for one in (first, *others)),
            kinds=first.kinds,
        )

    def _view(self, images: Tensor, trace: RoutingTrace | None = None) -> _View:
        kit, backbone = self.kit, self.backbone
        began = time.perf_counter()
        with autocast(self.device, self.arithmetic):
            x_BND, grid = backbone.embed(images)
            x_BND, kept = backbone.run_blocks(
                x_BND, grid, stop=kit.prefix_end, keep=kit.prefix_keep, trace=trace
            )
            output = kit(backbone, x_BND, kept, grid, trace=trace)
            logit_B = output.logit_B.double().cpu()
            seconds = time.perf_counter() - began
            bare_B = bare_BHW = None
            if self._baseline is not None:
                bare = self._baseline(backbone, x_BND, kept, grid, start=kit.prefix_end)
                bare_B = bare.logit_B.double().cpu()
                bare_BHW = bare.map_BHW
        return _View(
            logit_B,
            _on_cpu(output.map_BHW),
            bare_B,
            _on_cpu(bare_BHW),
            seconds,
            kit.kinds_of(output),
        )


def _on_cpu(map_BHW: Tensor | None) -> Tensor | None:
    return None if map_BHW is None else map_BHW.float().cpu()

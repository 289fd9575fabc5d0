"""A trained kit, ready to score images: loaded once, called batch by batch.

Shapes: B images or stacks, T frames of a stack, N tokens, D width, h and w rows and columns of the
patch grid.
"""

from __future__ import annotations

import dataclasses
import time

import torch
from torch import Tensor

from moekit.backbone.model import MoEBackbone
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
    """

    score_B: Tensor
    map_BHW: Tensor | None
    baseline_B: Tensor | None
    baseline_map_BHW: Tensor | None
    seconds: float


class Predictor:
    """A kit, and optionally its baseline, on one backbone.

    Args:
        backbone: The shared backbone.
        kit: The trained kit.
        baseline: The trained baseline, or None.
        arithmetic: fp32 or bf16.
    """

    def __init__(
        self,
        *,
        backbone: MoEBackbone,
        kit: KitModules,
        baseline: KitModules | None,
        arithmetic: Arithmetic,
    ) -> None:
        self._backbone = backbone
        self._kit = kit.eval()
        self._baseline = None if baseline is None else baseline.eval()
        self.arithmetic: Arithmetic = arithmetic
        self.device = next(backbone.parameters()).device

    @torch.inference_mode()
    def __call__(self, images: Tensor, *, trace: RoutingTrace | None = None) -> Scores:
        """Scores normalised images (B, 3, H, W), or stacks (B, T, 3, H, W) of neighbouring frames.

        Args:
            images: On any device.
            trace: Collects the routing of the backbone and the kit where one is given.
        """
        kit, backbone = self._kit, self._backbone
        began = time.perf_counter()
        with autocast(self.device, self.arithmetic):
            x_BND, grid = backbone.embed(images.to(self.device, non_blocking=True))
            x_BND, kept = backbone.run_blocks(
                x_BND, grid, stop=kit.prefix_end, keep=kit.prefix_keep, trace=trace
            )
            output = kit(backbone, x_BND, kept, grid, trace=trace)
            score_B = output.logit_B.double().sigmoid().cpu()
            seconds = time.perf_counter() - began
            baseline_B = bare_BHW = None
            if self._baseline is not None:
                bare = self._baseline(backbone, x_BND, kept, grid, start=kit.prefix_end)
                baseline_B = bare.logit_B.double().sigmoid().cpu()
                bare_BHW = bare.map_BHW
        return Scores(
            score_B=score_B,
            map_BHW=_on_cpu(output.map_BHW),
            baseline_B=baseline_B,
            baseline_map_BHW=_on_cpu(bare_BHW),
            seconds=seconds,
        )


def _on_cpu(map_BHW: Tensor | None) -> Tensor | None:
    return None if map_BHW is None else map_BHW.float().cpu()

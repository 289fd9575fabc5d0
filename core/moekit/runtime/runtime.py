"""The runtime: one backbone, any number of kits attached to it.

Shapes: B images, N tokens, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from moekit.backbone.features import Features
from moekit.backbone.model import MoEBackbone
from moekit.contract.kits import KitSpec
from moekit.errors import UsageError
from moekit.moe.stats import RoutingTrace
from moekit.plugins.registry import Registry
from moekit.runtime.kit import KitModules
from moekit.tasks.score.output import KitOutput


class Runtime:
    """Runs the backbone with one kit active at a time.

    Attaching, training or detaching a kit never changes what the bare backbone or another kit
    computes, since each call names its kit and the backbone holds none.

    Args:
        backbone: The shared backbone.
        registry: The installed plugins; found anew where None.
    """

    def __init__(self, backbone: MoEBackbone, *, registry: Registry | None = None) -> None:
        self.backbone = backbone
        self.registry = registry or Registry()
        self._kits: dict[str, KitModules] = {}

    @property
    def kits(self) -> tuple[str, ...]:
        """Names of the attached kits."""
        return tuple(self._kits)

    def attach(self, kit: str | KitSpec) -> KitModules:
        """Builds a kit's specialists and head, in eval mode.

        No feature changes before they are trained or loaded.

        Raises:
            UsageError: A kit of that name is attached already, or does not fit the backbone.
        """
        spec = self.registry.kit(kit) if isinstance(kit, str) else kit
        if spec.name in self._kits:
            raise UsageError(
                f"kit {spec.name} is attached already", whose=spec.name, fix="detach it first"
            )
        modules = KitModules(spec=spec, registry=self.registry, backbone=self.backbone)
        device = next(self.backbone.parameters()).device
        self._kits[spec.name] = modules.to(device).eval()
        return modules

    def detach(self, kit: str) -> None:
        """Forgets a kit.

        Raises:
            UsageError: It is not attached.
        """
        self._attached(kit)
        del self._kits[kit]

    @torch.inference_mode()
    def features(
        self, images: Tensor, *, kit: str | None = None, trace: RoutingTrace | None = None
    ) -> Features:
        """The backbone's features, with the specialists of `kit` or, where None, bare.

        Args:
            images: (B, 3, H, W) normalised, or (B, T, 3, H, W).
            kit: Name of an attached kit.
            trace: Collects the routing where one is given.
        """
        branches = self._attached(kit).branches if kit is not None else None
        features: Features = self.backbone(images, branches=branches, trace=trace)
        return features

    @torch.inference_mode()
    def predict(self, images: Tensor, *, kit: str, trace: RoutingTrace | None = None) -> KitOutput:
        """A kit's scores for normalised images (B, 3, H, W), or one for each stack (B, T, 3, H, W).

        Raises:
            UsageError: The kit is not attached, or the images have another shape.
            PluginError: The kit's head gives no one score for a stack.
        """
        modules = self._attached(kit)
        x_BND, grid = self.backbone.embed(images)
        x_BND, kept = self.backbone.run_blocks(
            x_BND, grid, stop=modules.prefix_end, keep=modules.prefix_keep, trace=trace
        )
        output = modules(self.backbone, x_BND, kept, grid, trace=trace)
        evidence = output.map_BHW
        return KitOutput(
            score_B=output.logit_B.float().sigmoid(),
            map_BHW=None if evidence is None else evidence.float(),
            kinds=modules.kinds_of(output),
            trace=trace,
        )

    def _attached(self, kit: str) -> KitModules:
        if kit not in self._kits:
            raise UsageError(
                f"kit {kit} is not attached",
                whose=kit,
                fix=f"attach it first; attached: {', '.join(self._kits) or 'none'}",
            )
        return self._kits[kit]

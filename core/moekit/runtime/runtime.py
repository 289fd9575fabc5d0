"""The runtime: one backbone, any number of kits attached to it.

Shapes: B images, N tokens, D width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from moekit.backbone.features import Features
from moekit.backbone.model import MoEBackbone
from moekit.contract.answers import Answer
from moekit.contract.kits import KitSpec
from moekit.contract.outputs import Outputs
from moekit.data.views import view_numbers
from moekit.errors import UsageError
from moekit.moe.stats import RoutingTrace
from moekit.plugins.registry import Registry
from moekit.plugins.resolve import kit_of_run
from moekit.runs.run import Run
from moekit.runtime.answerer import Answerer
from moekit.runtime.kit import KitModules
from moekit.runtime.load import load_answerer
from moekit.runtime.predictor import Predictor


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Attached:
    """A kit on the backbone; one of a run can answer pictures."""

    predictor: Predictor
    answerer: Answerer | None = None


class Runtime:
    """Runs the backbone with one kit active at a time.

    Attaching, training or detaching a kit never changes what the bare backbone or another kit
    computes, since each call names its kit and the backbone holds none. Two runs may differ in
    `top_k`, views and image size: these belong to the run, not to the backbone.

    Args:
        backbone: The shared backbone.
        registry: The installed plugins; looked for if None.
    """

    def __init__(self, backbone: MoEBackbone, *, registry: Registry | None = None) -> None:
        self.backbone = backbone
        self.registry = registry or Registry()
        self._kits: dict[str, _Attached] = {}

    @property
    def kits(self) -> tuple[str, ...]:
        """Names of the attached kits."""
        return tuple(self._kits)

    def attach(self, kit: str | KitSpec, *, classes: int = 2, frames: int = 1) -> KitModules:
        """Builds a kit's specialists and head, in eval mode.

        No feature changes before they are trained or loaded.

        Args:
            kit: Name of an installed kit, or a record.
            classes: How many classes the head tells apart.
            frames: Frames of a sample; 1 for images.

        Raises:
            UsageError: A kit of that name is attached already, or does not fit the backbone.
        """
        spec = self.registry.kit(kit) if isinstance(kit, str) else kit
        self._check_free(spec.name)
        modules = KitModules(
            spec=spec,
            registry=self.registry,
            backbone=self.backbone,
            classes=classes,
            frames=frames,
        )
        modules.to(next(self.backbone.parameters()).device).eval()
        predictor = Predictor(
            backbone=self.backbone,
            kit=modules,
            baseline=None,
            task=self.registry.task(spec.task),
            arithmetic="fp32",
            views=view_numbers(spec.recipe.scoring_views, spec.recipe.scoring_order),
        )
        self._kits[spec.name] = _Attached(predictor=predictor)
        return modules

    def load(self, run: Path | Run, *, name: str | None = None) -> str:
        """Attaches the trained kit of a run, which then answers as `moekit predict` does.

        Args:
            run: The run folder.
            name: What it is called here; the kit's name if None.

        Returns:
            The name.

        Raises:
            DataError: The run is not finished.
            UsageError: A kit of that name is attached already.
            WeightsError: The run was trained on another backbone, or its weights are damaged.
        """
        opened = Run(run) if isinstance(run, Path) else run
        record = opened.read_finished()
        made_by = record["request"]["kit"]
        spec = kit_of_run(self.registry, made_by, record)
        chosen = name or spec.name
        self._check_free(chosen)
        predictor, answerer = load_answerer(
            opened, spec, backbone=self.backbone, registry=self.registry
        )
        self._kits[chosen] = _Attached(predictor=predictor, answerer=answerer)
        return chosen

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
        """The backbone's features, with the specialists of `kit` or, if None, bare.

        Args:
            images: (B, 3, H, W) normalised, or (B, T, 3, H, W).
            kit: Name of an attached kit.
            trace: Collects the routing if one is given.
        """
        branches, top_k = None, None
        if kit is not None:
            predictor = self._attached(kit).predictor
            branches, top_k = predictor.kit.branches, predictor.top_k
        features: Features = self.backbone(images, branches=branches, trace=trace, top_k=top_k)
        return features

    def predict(self, images: Tensor, *, kit: str, trace: RoutingTrace | None = None) -> Outputs:
        """A kit's outputs for normalised images (B, 3, H, W), or stacks (B, T, 3, H, W).

        They are on the CPU, merged over the views that the kit's recipe asks for.

        Raises:
            UsageError: The kit is not attached, or the images have another shape.
            PluginError: The kit's head does not give one row an image or stack.
        """
        return self._attached(kit).predictor(images, trace=trace).kit

    def answer(
        self, pictures: Sequence[Path | Image.Image], *, kit: str, batch_size: int = 16
    ) -> list[Answer]:
        """A run's answers to pictures, the same as `moekit predict` gives.

        Args:
            pictures: Files, or RGB pictures of any size.
            kit: Name of a kit that `load` attached.
            batch_size: Pictures a forward pass.

        Raises:
            ImageError: A file cannot be read.
            UsageError: The kit is not attached, or has no trained run.
        """
        answerer = self._attached(kit).answerer
        if answerer is None:
            raise UsageError(
                f"kit {kit} has no trained run, so it has no answers",
                whose=kit,
                fix="attach a run with Runtime.load",
                code="usage/no-run",
            )
        load = answerer.preprocess.read
        read = [load(one)[0] if isinstance(one, Path) else (one,) for one in pictures]
        return answerer.answer(read, batch_size=batch_size)

    def _check_free(self, name: str) -> None:
        if name in self._kits:
            raise UsageError(
                f"kit {name} is attached already",
                whose=name,
                fix="detach it first",
                code="usage/name-taken",
            )

    def _attached(self, kit: str) -> _Attached:
        if kit not in self._kits:
            raise UsageError(
                f"kit {kit} is not attached",
                whose=kit,
                fix=f"attach it first; attached: {', '.join(self._kits) or 'none'}",
                code="usage/not-attached",
            )
        return self._kits[kit]

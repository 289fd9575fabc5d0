"""Runs attached to the backbone that all of them were trained on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from moekit.backbone.model import MoEBackbone
from moekit.errors import UsageError
from moekit.jobs.session import open_backbone
from moekit.plugins.registry import Registry
from moekit.runs.run import Run
from moekit.runtime.runtime import Runtime
from moekit.serve.facts import KitFacts, facts_of
from moekit.serve.options import ServeOptions
from moekit.serve.service import Service


def open_service(
    runs: Mapping[str, Path],
    *,
    options: ServeOptions,
    backbone: MoEBackbone,
    registry: Registry | None = None,
    most_kits: int | None = None,
) -> Service:
    """Attaches runs to a backbone.

    Args:
        runs: Run folders by the names that requests call them.
        options: Bounds of a pass and of an image.
        backbone: What they were trained on.
        registry: The installed plugins; looked for if None.
        most_kits: Most kits that lie in memory; None for all.

    Raises:
        DataError: A run is not finished.
        UsageError: A kit answers no single images.
        WeightsError: The runs were trained on other weights than the backbone's.
    """
    runtime = Runtime(backbone, registry=registry, most_kits=most_kits)
    facts: dict[str, KitFacts] = {}
    for name, folder in runs.items():
        run = Run(folder)
        facts[name] = facts_of(name, run, registry=runtime.registry, backbone=backbone)
        runtime.load(run, name=name)
    return Service(runtime, facts, batch_size=options.batch_size, most_pixels=options.most_pixels)


def backbone_of(runs: Mapping[str, Path], *, device: str, weights: str, form: str) -> MoEBackbone:
    """The backbone that all runs were trained on.

    Raises:
        DataError: A run is not finished.
        UsageError: They were trained on several, or the device cannot be used.
        WeightsError: There are no weights.
    """
    found = {
        name: Run(folder).read_finished()["backbone"]["architecture"]
        for name, folder in runs.items()
    }
    if len(set(found.values())) > 1:
        raise UsageError(
            "the runs were trained on several backbones: "
            + ", ".join(f"{name} on {one}" for name, one in found.items()),
            whose=", ".join(found),
            fix="name those of one backbone at a time; each backbone needs a server of its own",
            code="usage/other-backbone",
        )
    (architecture,) = set(found.values())
    return open_backbone(device=device, weights=weights, architecture=architecture, form=form)

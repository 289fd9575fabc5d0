"""Runs opened to be served: attached to the backbone of all of them, or as their exports."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from moekit.backbone.model import MoEBackbone
from moekit.errors import UsageError
from moekit.export.libraries import library_versions
from moekit.jobs.session import backbone_of
from moekit.jobs.trained import Opening, open_trained
from moekit.plugins.registry import Registry
from moekit.plugins.resolve import kit_of_run
from moekit.runs.run import Run
from moekit.runtime.answerer import Answerer
from moekit.runtime.runtime import Runtime
from moekit.serve.exported import ExportedKits
from moekit.serve.facts import KitFacts, facts_of
from moekit.serve.options import ServeOptions
from moekit.serve.service import Service

TORCH = "torch"


def open_runs(
    runs: Mapping[str, Path],
    *,
    options: ServeOptions,
    backend: str = TORCH,
    device: str = "auto",
    weights: str = "auto",
    form: str = "auto",
    most_kits: int | None = None,
) -> Service:
    """Opens runs as `moekit serve` and `moekit verify` do.

    Args:
        runs: Run folders by the names that requests call them.
        options: Bounds of a pass and of an image.
        backend: torch, or an export of each run; see `moekit.export.record.open_export`.
        device: auto, cpu, cuda or cuda:N.
        weights: Of the backbone.
        form: Sparse form of the backbone.
        most_kits: Most kits that lie in memory; None for all.

    Raises:
        DataError: A run is not finished, or has no such export.
        UsageError: The runs were trained on several backbones, a kit answers no single images, or
            an option cannot be followed.
        WeightsError: The runs were trained on other weights than the backbone's, or an export is of
            others.
    """
    if backend == TORCH:
        backbone = backbone_of(runs, device=device, weights=weights, form=form)
        return open_service(runs, options=options, backbone=backbone, most_kits=most_kits)
    if most_kits is not None:
        raise UsageError(
            "exports all lie in memory",
            whose="--most-kits",
            fix="leave it out, or use --backend torch",
            code="usage/option-conflict",
        )
    how = Opening(backend=backend, device=device, weights=weights, form=form)
    return _open_exports(runs, options=options, how=how)


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
        facts[name] = facts_of(name, run, registry=runtime.registry, computed_by=backbone)
        runtime.load(run, name=name)
    return Service(runtime, facts, batch_size=options.batch_size, most_pixels=options.most_pixels)


def _open_exports(runs: Mapping[str, Path], *, options: ServeOptions, how: Opening) -> Service:
    registry = Registry()
    facts: dict[str, KitFacts] = {}
    answerers: dict[str, Answerer] = {}
    for name, folder in runs.items():
        run = Run(folder)
        record = run.read_finished()
        spec = kit_of_run(registry, record["request"]["kit"], record)
        trained = open_trained(spec, run, registry=registry, how=how)
        facts[name] = facts_of(name, run, registry=registry, computed_by=trained)
        answerers[name] = trained.answerer
    return Service(
        ExportedKits(answerers, registry),
        facts,
        batch_size=options.batch_size,
        most_pixels=options.most_pixels,
        libraries=library_versions(),
    )

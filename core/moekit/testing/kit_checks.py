"""Checks of kits, on a small backbone of random weights.

Shapes: B images, N tokens, D width.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from moekit.contract.kits import KitSpec
from moekit.contract.outputs import HeadOutput
from moekit.contract.recipe import Recipe
from moekit.files import read_json
from moekit.plugins.changes import kit_of_frames
from moekit.plugins.manifest import Input
from moekit.plugins.registry import Registry
from moekit.runtime.kit import KitModules
from moekit.runtime.runtime import Runtime
from moekit.testing.check import ConformanceError, NotApplicable, check, require
from moekit.testing.inputs import GRID, STACK, awaken, generator, write_images
from moekit.testing.reference import (
    REFERENCE_KIT,
    SIDE,
    add_reference,
    run_kit,
    small_backbone,
)
from moekit.testing.subject import Subject, private_folders

_TOLERANCE = 1e-5


def _spec(subject: Subject, name: str) -> KitSpec:
    spec: KitSpec = subject.record("kits", name)
    return spec


def _registry(subject: Subject) -> Registry:
    return add_reference(subject.registry)


def _runtime(subject: Subject) -> Runtime:
    return Runtime(small_backbone(), registry=_registry(subject))


def _images(count: int = 2) -> Tensor:
    return torch.randn(count, 3, SIDE, SIDE, generator=generator(5))


def _attached(subject: Subject, name: str) -> tuple[Runtime, KitModules]:
    runtime = _runtime(subject)
    torch.manual_seed(0)
    modules = runtime.attach(_spec(subject, name))
    return runtime, modules


@check("kit")
def is_described(subject: Subject, name: str) -> None:
    """It has a summary, names its outcomes, and its recipe is a Recipe."""
    spec = _spec(subject, name)
    require(bool(spec.summary.strip() and spec.positive.strip()), "summary or positive is empty")
    missing = {"missed", "false_alarm"} - set(spec.outcome_names)
    require(not missing, f"outcome_names lacks {', '.join(sorted(missing))}")
    require(isinstance(spec.recipe, Recipe), "its recipe is not a moekit.Recipe")


@check("kit")
def names_what_there_is(subject: Subject, name: str) -> None:
    """The experts, gates, metrics and demonstration data that it names are installed."""
    spec, registry = _spec(subject, name), _registry(subject)
    require(bool(spec.metrics), "it names no metric")
    for metric in spec.metrics:
        registry.metric(metric)
    for metric in spec.map_metrics:
        registry.map_metric(metric)
    registry.dataset(spec.demo_dataset.partition("=")[0])
    for slot in spec.slots:
        registry.gate(slot.gate)
        for expert in (*slot.experts, *spec.stack_experts):
            registry.expert(expert)


@check("kit")
def fits_the_backbone(subject: Subject, name: str) -> None:
    """It attaches to a backbone of twelve blocks and has something to train."""
    _, modules = _attached(subject, name)
    count = sum(p.numel() for p in modules.parameters() if p.requires_grad)
    require(count > 0, "it has nothing to train")


@check("kit")
def starts_safely(subject: Subject, name: str) -> None:
    """Attached and not yet adapted, it changes no feature, to the bit."""
    runtime, _ = _attached(subject, name)
    bare = runtime.features(_images()).final_BND
    fresh = runtime.features(_images(), kit=_spec(subject, name).name).final_BND
    require(torch.equal(bare, fresh), f"features move by {(bare - fresh).abs().max():.3g}")


@check("kit")
def disturbs_nobody(subject: Subject, name: str) -> None:
    """Attached, trained and detached, it leaves the backbone and another kit bitwise alone."""
    runtime = _runtime(subject)
    awaken(runtime.attach(REFERENCE_KIT))
    spec, images = _spec(subject, name), _images()

    def others() -> tuple[Tensor, Tensor]:
        return (
            runtime.features(images).final_BND,
            runtime.predict(images, kit=REFERENCE_KIT.name).score_B,
        )

    before = others()
    for step in ("attached", "changed", "run", "detached"):
        if step == "attached":
            modules = runtime.attach(spec)
        elif step == "changed":
            awaken(modules)
        elif step == "run":
            runtime.predict(images, kit=spec.name)
        else:
            runtime.detach(spec.name)
        for was, is_now in zip(before, others(), strict=True):
            require(torch.equal(was, is_now), f"others changed when it was {step}")


@check("kit")
def gives_scores_and_maps(subject: Subject, name: str) -> None:
    """The head gives one finite logit an image, and a map in [0, 1] of the grid, or none."""
    runtime, modules = _attached(subject, name)
    awaken(modules)
    output = _output(runtime, modules, _images(3))
    logit = output.logit_B
    require(logit.shape == (3,), f"logits have the shape {tuple(logit.shape)}")
    require(bool(logit.isfinite().all()), "a logit is not finite")
    if output.map_BHW is not None:
        shape = tuple(output.map_BHW.shape)
        require(shape == (3, *GRID), f"the map has the shape {shape}")
        inside = (output.map_BHW >= 0) & (output.map_BHW <= 1)
        require(bool(inside.all()), "the map leaves [0, 1]")


@check("kit")
def keeps_images_apart(subject: Subject, name: str) -> None:
    """In eval mode the score of an image does not depend on its neighbours in the batch."""
    runtime, modules = _attached(subject, name)
    awaken(modules)
    images = _images(3)
    together = runtime.predict(images, kit=modules.name).score_B
    alone = torch.cat([runtime.predict(one[None], kit=modules.name).score_B for one in images])
    require(
        torch.allclose(together, alone, atol=_TOLERANCE),
        f"scores differ by {(together - alone).abs().max():.3g}",
    )


@check("kit")
def scores_stacks(subject: Subject, name: str) -> None:
    """A kit for stacks gives one score and one map a stack, whatever lies beside it."""
    manifest, spec = subject.plugin.manifest, _spec(subject, name)
    declared = manifest is not None and any(given.kind == "stack" for given in manifest.inputs)
    if not declared and not spec.stack_experts:
        raise NotApplicable("it declares no stacks and names no experts for them")
    runtime = _runtime(subject)
    torch.manual_seed(0)
    spec = kit_of_frames(spec, STACK.frames)
    modules = cast(KitModules, awaken(runtime.attach(spec)))
    stacks = _images(3 * STACK.frames).reshape(3, STACK.frames, 3, SIDE, SIDE)
    output = _output(runtime, modules, stacks)
    require(output.logit_B.shape == (3,), f"logits have the shape {tuple(output.logit_B.shape)}")
    if output.map_BHW is not None:
        shape = tuple(output.map_BHW.shape)
        require(shape == (3, *GRID), f"the map has the shape {shape}")
    together = runtime.predict(stacks, kit=spec.name).score_B
    alone = torch.cat([runtime.predict(one[None], kit=spec.name).score_B for one in stacks])
    require(
        torch.allclose(together, alone, atol=_TOLERANCE),
        f"scores differ by {(together - alone).abs().max():.3g}",
    )


@check("kit")
def learns_everywhere(subject: Subject, name: str) -> None:
    """A step of training reaches every parameter of its experts and its head."""
    runtime, modules = _attached(subject, name)
    awaken(modules).train()
    torch.autograd.backward(_output(runtime, modules, _images(4)).logit_B.square().sum())
    unreached = [
        key
        for key, value in modules.named_parameters()
        if value.requires_grad and (value.grad is None or not value.grad.isfinite().all())
    ]
    require(not unreached, f"no finite gradient for {', '.join(unreached[:5])}")


@check("kit")
def runs_from_end_to_end(subject: Subject, name: str) -> None:
    """It is adapted and evaluated on images of its declared input; every metric is reported.

    Metrics of maps may be missing where a note of the result says why.
    """
    with private_folders() as folder:
        result = read_json(_run(subject, name, folder, "run") / "result.json")
    spec = _spec(subject, name)
    short = {metric.rpartition("/")[2] for metric in spec.metrics}
    found = {metric.rpartition("/")[2] for metric in result["metrics"]}
    if not result["notes"]:
        short |= {metric.rpartition("/")[2] for metric in spec.map_metrics}
    require(short <= found, f"not reported: {', '.join(sorted(short - found))}")


@check("kit")
def repeats_itself(subject: Subject, name: str) -> None:
    """Adapted and evaluated twice with one seed, it gives the same predictions, byte for byte."""
    with private_folders() as folder:
        first, second = (
            (_run(subject, name, folder, run) / "predictions.csv").read_bytes()
            for run in ("first", "second")
        )
    require(first == second, "two runs differ")


def _run(subject: Subject, name: str, folder: Path, run: str) -> Path:
    images = folder / f"images-{run}"
    images.mkdir()
    dataset = write_images(images, _declared(subject), side=SIDE)
    run_kit(_spec(subject, name), dataset, folder / run, _registry(subject))
    return folder / run


def _declared(subject: Subject) -> Input | None:
    manifest = subject.plugin.manifest
    return manifest.inputs[0] if manifest is not None and manifest.inputs else None


def _output(runtime: Runtime, modules: KitModules, images: Tensor) -> HeadOutput:
    backbone = runtime.backbone
    x_BND, grid = backbone.embed(images)
    x_BND, kept = backbone.run_blocks(
        x_BND, grid, stop=modules.prefix_end, keep=modules.prefix_keep
    )
    output = modules(backbone, x_BND, kept, grid)
    if not isinstance(output, HeadOutput):
        raise ConformanceError("the head must return a moekit.HeadOutput")
    return output

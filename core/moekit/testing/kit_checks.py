"""Checks of kits, on a small backbone of random weights.

Shapes: B images, N tokens, D width.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from PIL.Image import Image
from torch import Tensor

from moekit.contract.kits import KitSpec
from moekit.contract.recipe import Recipe
from moekit.contract.tasks import ItemReader
from moekit.errors import ImageError
from moekit.files import read_json
from moekit.plugins.changes import kit_of_frames
from moekit.plugins.manifest import Input
from moekit.plugins.registry import Registry
from moekit.plugins.resolve import resolve
from moekit.runtime.kit import KitModules
from moekit.runtime.runtime import Runtime
from moekit.testing.check import check
from moekit.testing.examples import private_folders
from moekit.testing.inputs import STACK, awaken, generator, write_images
from moekit.testing.outputs import energy, outputs_of, require_fields, require_same
from moekit.testing.reference import (
    REFERENCE_KIT,
    SIDE,
    add_reference,
    run_kit,
    small_backbone,
)
from moekit.testing.subject import Subject
from moekit.testing.verdicts import NotApplicable, require

_TALLIES = "predictions.*"
_FIRST: weakref.WeakKeyDictionary[Subject, dict[str, list[bytes]]] = weakref.WeakKeyDictionary()
"""What a kit of a plugin predicted when it was run from end to end, until it is run once more."""


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
    """It has a summary, the words of its task, and its recipe is a Recipe."""
    for spec in _variants(_spec(subject, name)):
        require(bool(spec.summary.strip()), "its summary is empty")
        require(isinstance(spec.recipe, Recipe), "its recipe is not a moekit.Recipe")
        require(spec.name == name, f"a variant is called {spec.name}")
        if spec.task.rpartition("/")[2] == "score":
            require(bool(spec.positive.strip()), "positive is empty")
            missing = {"missed", "false_alarm"} - set(spec.outcome_names)
            require(not missing, f"outcome_names lacks {', '.join(sorted(missing))}")


@check("kit")
def names_what_there_is(subject: Subject, name: str) -> None:
    """The tasks, experts, gates, metrics and demonstration data that it names are installed."""
    registry = _registry(subject)
    for spec in _variants(_spec(subject, name)):
        require(bool(resolve(spec, registry).metrics), "it reports no metric")
        if spec.demo_dataset:
            registry.dataset(spec.demo_dataset.partition("=")[0])
        unknown = set(spec.demo_recipe) - set(type(spec.recipe).model_fields)
        require(
            not unknown, f"demo_recipe changes what no recipe has: {', '.join(sorted(unknown))}"
        )
        spec.recipe.changed(spec.demo_recipe)
        for slot in spec.slots:
            registry.gate(slot.gate)
            for expert in (*slot.experts, *spec.stack_experts):
                registry.expert(expert)


@check("kit")
def fits_the_backbone(subject: Subject, name: str) -> None:
    """It attaches to a backbone of twelve blocks and has something to train, or its own `fit`."""
    _, modules = _attached(subject, name)
    count = sum(p.numel() for p in modules.parameters() if p.requires_grad)
    own = _spec(subject, name).fit is not None
    require(count > 0 or own, "it has nothing to train")


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
            runtime.predict(images, kit=REFERENCE_KIT.name)["logit_B"],
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
    """The head gives the task's outputs: one row an image, finite and in their bounds."""
    runtime, modules = _attached(subject, name)
    awaken(modules)
    task = _registry(subject).task(_spec(subject, name).task)
    require_fields(outputs_of(runtime, modules, _images(3)), task, 3)


@check("kit")
def keeps_images_apart(subject: Subject, name: str) -> None:
    """In eval mode the outputs of an image do not depend on its neighbours in the batch."""
    runtime, modules = _attached(subject, name)
    awaken(modules)
    images = _images(3)
    together = runtime.predict(images, kit=modules.name)
    require_same(together, [runtime.predict(one[None], kit=modules.name) for one in images])


@check("kit")
def scores_stacks(subject: Subject, name: str) -> None:
    """A kit for stacks gives one row of outputs a stack, whatever lies next to it."""
    manifest, spec = subject.plugin.manifest, _spec(subject, name)
    declared = manifest is not None and any(given.kind == "stack" for given in manifest.inputs)
    if not declared and not spec.stack_experts:
        raise NotApplicable("it declares no stacks and names no experts for them")
    runtime = _runtime(subject)
    torch.manual_seed(0)
    spec = kit_of_frames(spec, STACK.frames)
    modules = cast(KitModules, awaken(runtime.attach(spec, frames=STACK.frames)))
    stacks = _images(3 * STACK.frames).reshape(3, STACK.frames, 3, SIDE, SIDE)
    task = _registry(subject).task(spec.task)
    require_fields(outputs_of(runtime, modules, stacks), task, 3)
    together = runtime.predict(stacks, kit=spec.name)
    require_same(together, [runtime.predict(one[None], kit=spec.name) for one in stacks])


@check("kit")
def reads_items(subject: Subject, name: str) -> None:
    """A reader gives items with names of their own, the same ones again, and frames of one size."""
    spec = _spec(subject, name)
    readers = [one for one in _variants(spec) if one.reader is not None]
    if not readers:
        raise NotApplicable("it has no reader")
    for one in readers:
        require(one.predict is None, "it has both a reader and a predict of its own")
    if spec.demo_inputs is None:
        raise NotApplicable("it gives no demo_inputs that its reader could read")
    with private_folders() as folder:
        paths = tuple(spec.demo_inputs(folder).values())
        for one in readers:
            first, again = ([*cast(ItemReader, one.reader).items(paths)] for _ in range(2))
            names = [item for item, _ in first]
            require(bool(names), "it reads no item of its demo_inputs")
            require(len({*names}) == len(names), "two items share a name")
            require(names == [item for item, _ in again], "names differ from call to call")
            for item, frames in first:
                require(not isinstance(frames, ImageError), f"it cannot read {item}")
                kinds = {(frame.mode, frame.size) for frame in cast(Sequence[Image], frames)}
                require(len(kinds) == 1, f"the frames of {item} differ in size")
                require(next(iter(kinds))[0] == "RGB", f"the frames of {item} are not RGB")


@check("kit")
def learns_everywhere(subject: Subject, name: str) -> None:
    """A step of training reaches every parameter of its experts and its head."""
    runtime, modules = _attached(subject, name)
    if not any(value.requires_grad for value in modules.parameters()):
        raise NotApplicable("it learns by a `fit` of its own, without parameters")
    awaken(modules).train()
    torch.autograd.backward(energy(outputs_of(runtime, modules, _images(4))))
    unreached = [
        key
        for key, value in modules.named_parameters()
        if value.requires_grad and (value.grad is None or not value.grad.isfinite().all())
    ]
    require(not unreached, f"no finite gradient for {', '.join(unreached[:5])}")


@check("kit")
def runs_from_end_to_end(subject: Subject, name: str) -> None:
    """It is adapted and evaluated on images of its declared input; its metrics are reported.

    A metric may be missing if a note of the result says why, or if the kit does not name it and
    the data lacks what it needs; the headline is always there.
    """
    registry = _registry(subject)
    for number, spec in enumerate(_variants(_spec(subject, name))):
        with private_folders() as folder:
            run = _run(subject, spec, folder, f"run-{number}")
            result = read_json(run / "result.json")
            if number == 0:
                _FIRST.setdefault(subject, {})[name] = _tallies(run)
        wanted = {metric.rpartition("/")[2] for metric in spec.metrics}
        wanted.add(resolve(spec, registry).metrics[0].name)
        missing = wanted - set(result["metrics"])
        missing -= {note.partition(" ")[0] for note in result["notes"]}
        require(not missing, f"not reported: {', '.join(sorted(missing))}")


@check("kit")
def repeats_itself(subject: Subject, name: str) -> None:
    """Adapted and evaluated twice with one seed, it gives the same predictions, byte for byte."""
    spec = _spec(subject, name)
    first = _FIRST.get(subject, {}).pop(name, None)
    with private_folders() as folder:
        if first is None:
            first = _tallies(_run(subject, spec, folder, "first"))
        second = _tallies(_run(subject, spec, folder, "second"))
    require(bool(first) and first == second, "two runs differ")


def _tallies(run: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(run.glob(_TALLIES))]


def _variants(spec: KitSpec) -> list[KitSpec]:
    """A kit and its other tasks."""
    return [spec, *spec.variants]


def _run(subject: Subject, spec: KitSpec, folder: Path, run: str) -> Path:
    images = folder / f"images-{run}"
    images.mkdir()
    task = _registry(subject).task(spec.task)
    if task.name == "score":
        dataset = write_images(images, _declared(subject), side=SIDE)
    else:
        dataset = task.example(images)
    run_kit(spec, dataset, folder / run, _registry(subject))
    return folder / run


def _declared(subject: Subject) -> Input | None:
    manifest = subject.plugin.manifest
    return manifest.inputs[0] if manifest is not None and manifest.inputs else None

"""A task at work: its example data, its example head on the small backbone, its tallies.

Shapes: B images or stacks.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from moekit.contract.answers import Item, TaskContext
from moekit.contract.frames import frame_of
from moekit.contract.hookspecs import hookimpl
from moekit.contract.kits import KitSpec
from moekit.contract.metrics import MetricSpec
from moekit.contract.outputs import Outputs
from moekit.contract.recipe import Recipe
from moekit.contract.tasks import Learn, TaskSpec
from moekit.data.geometry import Frame
from moekit.data.samples import Dataset, Sample
from moekit.data.stream import Preprocess, read_sample
from moekit.data.views import view
from moekit.plugins.registry import Registry
from moekit.plugins.resolve import Resolved, resolve
from moekit.runs.run import Run
from moekit.runtime.kit import KitModules
from moekit.runtime.predictor import converted
from moekit.runtime.runtime import Runtime
from moekit.testing.inputs import awaken
from moekit.testing.outputs import outputs_of
from moekit.testing.reference import (
    PATCH,
    QUICK,
    REFERENCE_KIT,
    add_reference,
    small_backbone,
)
from moekit.testing.verdicts import ConformanceError

DISTRIBUTION = "moekit-task-under-test"


class _Hooks:
    def __init__(self, spec: TaskSpec) -> None:
        self._spec = spec

    @hookimpl
    def moekit_tasks(self) -> list[TaskSpec]:
        return [self._spec]


def registry_of(spec: TaskSpec) -> Registry:
    """All installed plugins, and a further one that provides the task as it is given."""
    registry = add_reference(Registry(strict=False))
    registry.register(_Hooks(spec), distribution=DISTRIBUTION)
    return registry


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answered:
    """The items of a split.

    Attributes:
        items: The items, with their samples.
        merged: Their outputs.
    """

    items: list[Item]
    merged: Outputs


class Bench:
    """A task at work.

    Args:
        spec: The task.
        folder: Where its example and its run lie; what is in it is not touched.
        home: The distribution whose metrics the task means first.

    Attributes:
        spec: The task.
        folder: Where its example lies.
        dataset: Its example.
        registry: Has the task, under a name of its own.
    """

    def __init__(self, spec: TaskSpec, folder: Path, *, home: str) -> None:
        self.registry = registry_of(spec)
        names = [self.registry.full_name("metrics", one, home) for one in spec.metrics]
        self.spec = spec
        self.folder = folder / "example"
        self.folder.mkdir()
        self.dataset: Dataset = spec.example(self.folder)
        self.kit: KitSpec = dataclasses.replace(
            REFERENCE_KIT,
            name="task-under-test",
            task=f"{DISTRIBUTION}/{spec.name}",
            build_head=spec.example_head,
            metrics=tuple(names),
            recipe=Recipe.model_validate({**QUICK, "scoring_views": 2}),
            demo_dataset="",
        )
        self.run = Run(folder / "run")

    @functools.cached_property
    def resolved(self) -> Resolved:
        """The kit with its task and metrics."""
        return resolve(self.kit, self.registry, frames=self.dataset.frames)

    @functools.cached_property
    def frame(self) -> Frame:
        """How pictures lie in the input."""
        return frame_of(self.kit.recipe, PATCH)

    @functools.cached_property
    def context(self) -> TaskContext:
        """What the functions of the task know of the run."""
        return self.resolved.context(
            classes=self.dataset.classes,
            frame=self.frame,
            kinds=self.modules.kinds,
            words=self.dataset.words,
        )

    @functools.cached_property
    def runtime(self) -> Runtime:
        """The small backbone."""
        return Runtime(small_backbone(), registry=self.registry)

    @functools.cached_property
    def modules(self) -> KitModules:
        """The example head and one expert, with random weights."""
        torch.manual_seed(0)
        modules = self.runtime.attach(
            self.resolved.kit, classes=len(self.dataset.classes), frames=self.dataset.frames
        )
        return cast(KitModules, awaken(modules))

    def learn(self) -> Learn:
        """How the task is learned from the example's training split."""
        prepared = getattr(self.spec.learn, "prepared", None)
        if prepared is None:
            return self.spec.learn
        return cast(Learn, prepared(self.dataset.split("train")))

    def images(self, samples: Sequence[Sample], views: Sequence[int] | np.ndarray = ()) -> Tensor:
        """(B, 3, H, W) or (B, T, 3, H, W) the samples, each in a view; as they are if not given."""
        read = [self._preprocess(sample.path) for sample in samples]
        numbers = views if len(views) else [0] * len(read)
        turned = [view(one, int(number)) for one, number in zip(read, numbers, strict=True)]
        return torch.stack(turned)

    @torch.inference_mode()
    def outputs(self, samples: Sequence[Sample], number: int = 0) -> Outputs:
        """The head's outputs of the samples in one view, as the task's types say."""
        self.modules.eval()
        images = self.images(samples, [number] * len(samples))
        return converted(outputs_of(self.runtime, self.modules, images), self.spec)

    def answered(self, split: str) -> Answered:
        """A split, each item in one view."""
        samples = self.dataset.split(split)
        sizes = [read_sample(sample.path, self._preprocess, None).size for sample in samples]
        items = [
            Item(id=sample.id, size=size, sample=sample)
            for sample, size in zip(samples, sizes, strict=True)
        ]
        merged = self.spec.answering.merge([self.outputs(samples)])
        return Answered(items=items, merged=merged)

    def without_truth(self, items: Sequence[Item]) -> list[Item]:
        """The items as they are if nothing is known of them."""
        return [dataclasses.replace(item, sample=None) for item in items]

    def tally(self, found: Answered, *, batch: int = 4) -> Any:
        """The tally of a split, added up in batches."""
        tallier = self.spec.judge.tallier(self.context, 1)
        for first in range(0, len(found.items), batch):
            rows = slice(first, first + batch)
            part = {name: value[rows] for name, value in found.merged.items()}
            tallier.add(found.items[rows], [part])
        (tally,) = tallier.finish()
        return tally

    def point(self) -> Any:
        """What the task's first rule chooses on the validation split."""
        rule = next(iter(self.spec.judge.rules), "")
        return self.spec.judge.choose(self.tally(self.answered("val")), rule)

    def fields(self, tally: Any) -> dict[str, Any]:
        """What the task's metrics compute from; None if the tally does not have it."""
        needs = {
            need
            for metric in self.resolved.metrics
            if isinstance(metric, MetricSpec)
            for need in metric.needs
        }
        return {need: tally.field(need) for need in sorted(needs)}

    @property
    def _preprocess(self) -> Preprocess:
        backbone = small_backbone()
        return Preprocess(
            frame=self.frame, mean=backbone.mean, std=backbone.std, frames=self.dataset.frames
        )


def ready_for_json(value: object, what: str) -> None:
    """Fails the check if JSON cannot hold a value.

    Raises:
        ConformanceError: It cannot.
    """
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ConformanceError(f"{what} is not ready for JSON: {error}") from error

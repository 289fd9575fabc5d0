"""The validation split of a training, tallied from its stored prefix.

Windows of one picture are put together first, so that the tally is one of pictures.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from lightning.fabric import Fabric

from moekit.backbone.model import MoEBackbone
from moekit.contract.answers import Item, Tallier, TaskContext
from moekit.contract.outputs import Outputs
from moekit.contract.tasks import TaskSpec, Whole
from moekit.data.samples import Sample
from moekit.data.sizes import header_size
from moekit.runtime.kit import KitModules
from moekit.runtime.parts import whole_frame, whole_of
from moekit.runtime.predictor import converted
from moekit.training.fit import stored_outputs
from moekit.training.prefix import PrefixStore


def tally_stored(
    models: Sequence[tuple[KitModules, PrefixStore]],
    *,
    task: TaskSpec,
    context: TaskContext,
    backbone: MoEBackbone,
    fabric: Fabric,
    batch_size: int,
) -> tuple[Any, ...]:
    """The tally of each model, and of the mean of all, which is the last one.

    Args:
        models: Kits with the stored prefixes of the same samples, two at least.
        task: What they answer.
        context: What the task's functions know.
        backbone: The frozen trunk.
        fabric: Launched.
        batch_size: Samples a forward pass.
    """
    tallier = task.judge.tallier(context, len(models) + 1)
    streams = [
        stored_outputs(
            kit, store, backbone=backbone, fabric=fabric, task=task, batch_size=batch_size
        )
        for kit, store in models
    ]
    samples = models[0][1].samples
    table = _Table(tallier, task, context)
    for batch in zip(*streams, strict=True):
        found = [samples[row] for row in batch[0][0]]
        given = [converted(outputs, task) for _, outputs in batch]
        table.add(found, [*given, task.answering.merge(given)])
    table.close()
    return tallier.finish()


class _Table:
    """Hands samples on to a tallier; windows wait until their picture is whole."""

    def __init__(self, tallier: Tallier, task: TaskSpec, context: TaskContext) -> None:
        self._tallier, self._task, self._context = tallier, task, context
        self._item: Item | None = None
        self._wholes: list[Whole] = []

    def add(self, samples: Sequence[Sample], outputs: Sequence[Outputs]) -> None:
        for name, places in _stretches(samples):
            part = [
                {key: value[places.start : places.stop] for key, value in one.items()}
                for one in outputs
            ]
            if name is None:
                self.close()
                self._tallier.add([_item(samples[place]) for place in places], part)
            else:
                self._add_windows([samples[place] for place in places], part)

    def close(self) -> None:
        """Hands on the picture that waits."""
        if self._item is not None:
            self._tallier.add([self._item], [whole.finish() for whole in self._wholes])
        self._item = None

    def _add_windows(self, samples: Sequence[Sample], outputs: Sequence[Outputs]) -> None:
        if self._item is None or self._item.id != samples[0].id:
            self.close()
            item = _item(dataclasses.replace(samples[0], window=None))
            self._item = dataclasses.replace(item, frame=whole_frame(item.size))
            make = whole_of(self._task)
            self._wholes = [make(item.size, self._context) for _ in outputs]
        boxes = [sample.window for sample in samples if sample.window is not None]
        for whole, part in zip(self._wholes, outputs, strict=True):
            whole.add(boxes, part)


def _stretches(samples: Sequence[Sample]) -> Iterator[tuple[str | None, range]]:
    """Neighbours that are windows of one picture, with its id, or are all no windows."""

    def key(place: int) -> str | None:
        return None if samples[place].window is None else samples[place].id

    for name, places in itertools.groupby(range(len(samples)), key):
        found = list(places)
        yield name, range(found[0], found[-1] + 1)


def _item(sample: Sample) -> Item:
    return Item(id=sample.id, size=header_size(sample.path) or (0, 0), sample=sample)

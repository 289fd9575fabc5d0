"""One pass over a split: each image is decoded once and goes through the backbone once.

Shapes: B images or stacks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from moekit.contract.answers import Item, TaskContext
from moekit.contract.outputs import Outputs
from moekit.contract.tasks import TaskSpec
from moekit.data.pictures import LONG_SIDE
from moekit.data.remarks import FLAT, Remark, RemarkTally
from moekit.data.samples import Sample, Skipped
from moekit.data.stream import Preprocess, image_batches
from moekit.evaluation.routing import RoutingTable
from moekit.evaluation.spool import PictureSpool
from moekit.moe.stats import RoutingTrace
from moekit.runtime.parts import computed_parts
from moekit.runtime.predictor import Compute

TRACED_ITEMS = 128
_KEPT_BYTES = 2**29


@dataclasses.dataclass(frozen=True, kw_only=True)
class Passed:
    """What a pass over a split left.

    Attributes:
        items: The samples that could be read, in their order.
        tallies: Of each model, the kit's first.
        skipped: The others, and why.
        seconds: Time that the kit took.
        outputs: The kit's outputs of each item, for pictures of the worst; empty if all together
            were too large to be kept.
        remarks: Sentences on what was guessed or left out when the files were read.
    """

    items: list[Item]
    tallies: tuple[Any, ...]
    skipped: list[Skipped]
    seconds: float
    outputs: list[Outputs]
    remarks: tuple[str, ...] = ()


def pass_over(
    samples: Sequence[Sample],
    compute: Compute,
    preprocess: Preprocess,
    *,
    task: TaskSpec,
    context: TaskContext,
    models: int,
    batch_size: int,
    on_progress: Callable[[int, int], None],
    routing: RoutingTable | None = None,
    keep: bool = False,
    spool: PictureSpool | None = None,
    on_cells: Callable[[np.ndarray], None] = lambda _: None,
) -> Passed:
    """Answers samples batch by batch and tallies the answers.

    Args:
        samples: What to answer.
        compute: The trained kit, or an export of it.
        preprocess: How images are read.
        task: What is answered.
        context: What the task's functions know.
        models: How many models `compute` gives outputs of.
        batch_size: Samples a forward pass.
        on_progress: Called with the samples done and their total.
        routing: Collects the routing of up to `TRACED_ITEMS` samples, evenly spread; None for none.
        keep: Whether to keep the kit's outputs.
        spool: Takes the reduced pictures of the items that could be read; None for none.
        on_cells: Takes what the frozen blocks say of them, in the same order, if `compute` tells.
    """
    tallier = task.judge.tallier(context, models)
    remarks = RemarkTally()
    known = {sample.id: sample for sample in samples}
    items: list[Item] = []
    skipped: list[Skipped] = []
    outputs: list[Outputs] = []
    seconds, room = 0.0, _KEPT_BYTES if keep else -1
    traced = _spread(len(samples), TRACED_ITEMS)
    inputs = [(sample.id, sample.path) for sample in samples]
    pictures = None if spool is None else LONG_SIDE
    for batch in image_batches(inputs, preprocess, batch_size=batch_size, pictures=pictures):
        skipped.extend(Skipped.of(known[skip.id], skip.reason) for skip in batch.skipped)
        for row, found_of in zip(batch.rows, batch.remarks, strict=True):
            remarks.add(samples[row].id, found_of)
        observer = None
        if routing is not None:
            labels = [samples[row].label * task.labelled for row in batch.rows]
            wanted = [row in traced for row in batch.rows]
            observer = _Observer(routing, np.array(labels), wanted, preprocess.frames)
        for part in computed_parts(
            batch,
            compute=compute,
            preprocess=preprocess,
            task=task,
            context=context,
            batch_size=batch_size,
            observer=observer,
        ):
            seconds += part.computed.seconds
            if part.computed.reused:
                name = samples[batch.rows[part.places[0]]].id
                remarks.add(name, [Remark(FLAT, part.computed.reused)])
            if part.computed.cells is not None:
                on_cells(part.computed.cells)
            found = [
                Item(
                    id=samples[batch.rows[place]].id,
                    size=batch.sizes[place],
                    sample=samples[batch.rows[place]],
                    frame=part.frame,
                )
                for place in part.places
            ]
            tallier.add(found, part.computed.outputs)
            items.extend(found)
            if spool is not None:
                spool.add([batch.pictures[place] for place in part.places])
            room -= sum(value.nbytes for value in part.computed.kit.values())
            if room >= 0:
                outputs.extend(_rows(part.computed.kit, len(found)))
        on_progress(len(items) + len(skipped), len(samples))
    return Passed(
        items=items,
        tallies=tallier.finish() if items else (),
        skipped=skipped,
        seconds=seconds,
        outputs=outputs if room >= 0 else [],
        remarks=remarks.sentences(),
    )


@dataclasses.dataclass(frozen=True)
class _Observer:
    """Adds the routing of chosen inputs of a batch to a table; of cut ones that of each window."""

    table: RoutingTable
    labels: np.ndarray
    wanted: Sequence[bool]
    frames: int

    def begin(self, places: Sequence[int]) -> RoutingTrace | None:
        return RoutingTrace() if any(self.wanted[place] for place in places) else None

    def end(self, trace: RoutingTrace, places: Sequence[int]) -> None:
        rows = [row for row, place in enumerate(places) if self.wanted[place]]
        self.table.add(trace, self.labels[list(places)], rows, frames=self.frames)


def _spread(count: int, most: int) -> frozenset[int]:
    """Up to `most` positions, evenly spread."""
    if not count:
        return frozenset()
    return frozenset(np.unique(np.linspace(0, count - 1, most).round().astype(int)).tolist())


def _rows(outputs: Mapping[str, Any], count: int) -> list[Outputs]:
    return [{name: value[row : row + 1] for name, value in outputs.items()} for row in range(count)]

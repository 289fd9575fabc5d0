"""A batch computed part by part: pictures that fit the input at once, others window by window.

Shapes: B inputs of a batch, K windows of a pass.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from moekit.contract.answers import TaskContext
from moekit.contract.tasks import TaskSpec, Whole
from moekit.data.geometry import Frame, Size
from moekit.data.stream import ImageBatch, Preprocess, Stack, cropped
from moekit.errors import UsageError
from moekit.moe.stats import RoutingTrace
from moekit.runtime.predictor import Compute, Computed


class Observer(Protocol):
    """Looks at the routing of passes."""

    def begin(self, places: Sequence[int]) -> RoutingTrace | None:
        """What a pass is to be traced in; None for nothing.

        Args:
            places: The input of each row of the pass, by its place in the batch.
        """
        ...

    def end(self, trace: RoutingTrace, places: Sequence[int]) -> None:
        """Takes what the pass left."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """Some inputs of a batch, computed.

    Attributes:
        places: Their places in the batch.
        computed: Their outputs.
        frame: How their pictures lie in the outputs, if not as the run says.
    """

    places: tuple[int, ...]
    computed: Computed
    frame: Frame | None = None


def computed_parts(
    batch: ImageBatch,
    *,
    compute: Compute,
    preprocess: Preprocess,
    task: TaskSpec,
    context: TaskContext,
    batch_size: int,
    observer: Observer | None = None,
) -> Iterator[Part]:
    """Computes a batch as it comes from `image_batches`.

    Args:
        batch: The inputs.
        compute: The trained kit, or an export of it.
        preprocess: How they were read.
        task: Puts windows together.
        context: What the task's functions know.
        batch_size: Windows a forward pass, at most.
        observer: Looks at the routing; None for nobody.

    Raises:
        UsageError: A picture was cut and the task puts no windows together.
    """
    stacks = batch.stacks or ((),) * len(batch.rows)
    fitting = tuple(place for place, stack in enumerate(stacks) if not stack)
    if fitting:
        yield Part(places=fitting, computed=_observed(compute, batch.images, fitting, observer))
    for place, stack in enumerate(stacks):
        if stack:
            yield _compute_cut(
                stack, place, compute, preprocess, task, context, batch_size, observer
            )


def whole_of(task: TaskSpec) -> Callable[[Size, TaskContext], Whole]:
    """What puts windows together.

    Raises:
        UsageError: The task only answers whole pictures.
    """
    if task.answering.whole is None:
        raise UsageError(
            f"the task {task.name} only answers whole pictures, not windows",
            whose="tile",
            fix="leave it out",
            code="usage/tile",
        )
    return task.answering.whole


def whole_frame(size: Size) -> Frame:
    """How a picture of `size` (H, W) lies in outputs that were put together."""
    return Frame(height=size[0], width=size[1])


def _observed(
    compute: Compute, images: Tensor, places: Sequence[int], observer: Observer | None
) -> Computed:
    trace = None if observer is None else observer.begin(places)
    if observer is None or trace is None:
        return compute(images)
    computed = compute(images, trace=trace)
    observer.end(trace, places)
    return computed


def _compute_cut(
    stack: Stack,
    place: int,
    compute: Compute,
    preprocess: Preprocess,
    task: TaskSpec,
    context: TaskContext,
    batch_size: int,
    observer: Observer | None,
) -> Part:
    size = (stack[0].height, stack[0].width)
    assert preprocess.tiling is not None
    boxes = preprocess.tiling.boxes(size)
    make = whole_of(task)
    wholes = None
    seconds = 0.0
    cells: list[np.ndarray] = []
    for first in range(0, len(boxes), batch_size):
        part = boxes[first : first + batch_size]
        images = torch.stack([preprocess.stack(cropped(stack, box)) for box in part])
        computed = _observed(compute, images, (place,) * len(part), observer)
        if wholes is None:
            wholes = [make(size, context) for _ in computed.outputs]
        for whole, outputs in zip(wholes, computed.outputs, strict=True):
            whole.add(part, outputs)
        seconds += computed.seconds
        if computed.cells is not None:
            cells.append(computed.cells)
    finished = tuple(whole.finish() for whole in wholes or ())
    return Part(
        places=(place,),
        computed=Computed(
            outputs=finished,
            seconds=seconds,
            cells=np.concatenate(cells).mean(0, keepdims=True) if cells else None,
        ),
        frame=whole_frame(size),
    )

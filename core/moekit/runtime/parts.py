"""A batch computed part by part: pictures that fit the input at once, others window by window.

Shapes: B inputs of a batch, K windows of a pass.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from moekit.contract.answers import TaskContext
from moekit.contract.tasks import TaskSpec, Whole
from moekit.data.geometry import Box, Frame, Size
from moekit.data.stream import (
    ImageBatch,
    Preprocess,
    Stack,
    batch_of,
    check_frames,
    cropped,
    prepare,
)
from moekit.data.windows import together
from moekit.errors import UsageError
from moekit.moe.stats import RoutingTrace
from moekit.runtime.flat import alike
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """The images of one forward pass.

    Attributes:
        images: (K, 3, H, W) or (K, T, 3, H, W) float32, normalised.
        places: (K) the input of each row, by its place in the batch.
        windows: (K) the windows of the one picture that was cut; empty if none was.
        copies: (K) further windows that take the answer of each; see `moekit.runtime.flat`.
        size: (H, W) of that picture.
        done: Windows of that picture that are answered with this step.
        of: All windows of that picture.
    """

    images: Tensor
    places: tuple[int, ...]
    windows: tuple[Box, ...] = ()
    copies: tuple[tuple[Box, ...], ...] = ()
    size: Size = (0, 0)
    done: int = 0
    of: int = 0

    @property
    def is_last(self) -> bool:
        """Whether no further step has windows of that picture."""
        return self.done == self.of


def stack_batches(
    stacks: Sequence[Stack], preprocess: Preprocess, *, batch_size: int
) -> Iterator[ImageBatch]:
    """Batches of pictures that all lie in memory, or of stacks of them.

    Args:
        stacks: The RGB pictures of each input.
        preprocess: Makes the tensors.
        batch_size: Inputs a batch; one that is to be cut has a batch of its own.

    Raises:
        UsageError: An input has another number of frames than the run was trained with.
    """
    for stack in stacks:
        check_frames(len(stack), preprocess)
    sizes = [(stack[0].height, stack[0].width) for stack in stacks]
    for rows in together(sizes, batch_size, preprocess.tiling):
        read = [prepare(stacks[row], preprocess, None) for row in rows]
        yield batch_of([str(row) for row in rows], rows, read, preprocess)


def steps(batch: ImageBatch, preprocess: Preprocess, batch_size: int) -> Iterator[Step]:
    """The passes that a batch takes: one of all that fit, then those of each picture that is cut.

    Args:
        batch: As it comes from `image_batches`.
        preprocess: How it was read.
        batch_size: Windows a forward pass, at most.
    """
    stacks = batch.stacks or ((),) * len(batch.rows)
    fitting = tuple(place for place, stack in enumerate(stacks) if not stack)
    if fitting:
        yield Step(images=batch.images, places=fitting)
    for place, stack in enumerate(stacks):
        if not stack:
            continue
        size = (stack[0].height, stack[0].width)
        assert preprocess.tiling is not None
        boxes, done = preprocess.tiling.boxes(size), 0
        same: dict[int, list[Box]] = collections.defaultdict(list)
        taken = alike(stack, boxes, tolerance=preprocess.tiling.flat)
        for number, known in taken.items():
            same[known].append(boxes[number])
        own = [number for number in range(len(boxes)) if number not in taken]
        for first in range(0, len(own), batch_size):
            part = own[first : first + batch_size]
            copies = tuple(tuple(same[number]) for number in part)
            done += len(part) + sum(map(len, copies))
            yield Step(
                images=torch.stack(
                    [preprocess.stack(cropped(stack, boxes[number])) for number in part]
                ),
                places=(place,) * len(part),
                windows=tuple(boxes[number] for number in part),
                copies=copies,
                size=size,
                done=done,
                of=len(boxes),
            )


class Assembly:
    """Makes parts of what the passes of batches were computed to; windows are put together.

    Args:
        task: Puts windows together.
        context: What its functions know.
    """

    def __init__(self, task: TaskSpec, context: TaskContext) -> None:
        self._task = task
        self._context = context
        self._wholes: list[Whole] = []
        self._seconds = 0.0
        self._cells: list[np.ndarray] = []
        self._reused = 0

    def add(self, step: Step, computed: Computed) -> Part | None:
        """Takes one pass; None as long as windows of its picture are to come.

        Raises:
            UsageError: A picture was cut and the task puts no windows together.
        """
        if not step.windows:
            return Part(places=step.places, computed=computed)
        if not self._wholes:
            make = whole_of(self._task)
            self._wholes = [make(step.size, self._context) for _ in computed.outputs]
        for whole, outputs in zip(self._wholes, computed.outputs, strict=True):
            whole.add(step.windows, outputs)
            for row, boxes in enumerate(step.copies):
                if boxes:
                    rows = [row] * len(boxes)
                    whole.add(boxes, {name: value[rows] for name, value in outputs.items()})
        self._reused += sum(map(len, step.copies))
        self._seconds += computed.seconds
        if computed.cells is not None:
            self._cells.append(computed.cells)
        if not step.is_last:
            return None
        finished = tuple(whole.finish() for whole in self._wholes)
        cells = np.concatenate(self._cells).mean(0, keepdims=True) if self._cells else None
        made = Computed(outputs=finished, seconds=self._seconds, cells=cells, reused=self._reused)
        self._wholes, self._seconds, self._cells, self._reused = [], 0.0, [], 0
        return Part(places=step.places[:1], computed=made, frame=whole_frame(step.size))


def computed_parts(
    batch: ImageBatch,
    *,
    compute: Compute,
    preprocess: Preprocess,
    task: TaskSpec,
    context: TaskContext,
    batch_size: int,
    observer: Observer | None = None,
    on_windows: Callable[[int, int], None] | None = None,
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
        on_windows: Called with the windows of a picture that are answered, and their total.

    Raises:
        UsageError: A picture was cut and the task puts no windows together.
    """
    if any(batch.stacks):
        whole_of(task)  # refused before anything is computed
    assembly = Assembly(task, context)
    for step in steps(batch, preprocess, batch_size):
        part = assembly.add(step, _observed(compute, step.images, step.places, observer))
        if on_windows is not None and step.windows:
            on_windows(step.done, step.of)
        if part is not None:
            yield part


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

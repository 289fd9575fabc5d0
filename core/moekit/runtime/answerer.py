"""A trained run that answers pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from PIL import Image

from moekit.contract.answers import Answer, Item, TaskContext
from moekit.contract.outputs import Outputs
from moekit.contract.tasks import TaskSpec
from moekit.data.remarks import Remark
from moekit.data.stream import ImageBatch, Preprocess
from moekit.errors import PluginError, UsageError
from moekit.files import finite, not_finite
from moekit.plugins.faults import owner_in_words
from moekit.runtime.in_steps import in_steps
from moekit.runtime.parts import Part, computed_parts, stack_batches
from moekit.runtime.predictor import Compute, Computed, Predictor

Row = dict[str, Any]
Pictures = Sequence[Image.Image | Sequence[Image.Image]]
NOT_FINITE = "the answer is not a finite number"
"""The error of a row whose figures are lost."""
REMARKS = "remarks"
"""The column of a journal's row, no column of a CSV, that holds what was guessed of its file."""
UNREADABLE = "unreadable"
"""The verdict on an image that could not be read."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answerer:
    """A trained run that answers pictures.

    Attributes:
        compute: Computes batches.
        preprocess: Reads images.
        task: What is answered.
        context: What the task's functions know.
        point: What was chosen on validation data.
    """

    compute: Compute
    preprocess: Preprocess
    task: TaskSpec
    context: TaskContext
    point: Any

    def answer(self, pictures: Pictures, *, batch_size: int = 16) -> list[Answer]:
        """The answers to RGB pictures of any size, or to stacks of them.

        Args:
            pictures: n pictures or, if the run was trained on stacks, n sequences of as many.
            batch_size: Pictures or stacks a forward pass.

        Raises:
            UsageError: A stack has another number of pictures than the run was trained with.
        """
        stacks = [[one] if isinstance(one, Image.Image) else list(one) for one in pictures]
        found: dict[int, Answer] = {}
        for batch in stack_batches(stacks, self.preprocess, batch_size=batch_size):
            for items, computed in self.computed(batch, str, batch_size=batch_size):
                answers = self.answers(computed.kit, items)
                found |= {int(item.id): one for item, one in zip(items, answers, strict=True)}
        return [found[row] for row in range(len(stacks))]

    def in_steps(self) -> tuple[Answerer, ...]:
        """By the first of several views, by the first two, four and so on, and by all.

        Each step takes over what the ones before it computed. There is one step only if there is
        one view, or if a graph holds all.
        """
        if not isinstance(self.compute, Predictor) or len(self.compute.views) == 1:
            return (self,)
        return tuple(dataclasses.replace(self, compute=step) for step in in_steps(self.compute))

    @property
    def level(self) -> float | None:
        """The number in [0, 1] of the point that may be moved; None if there is none."""
        level = self.task.answering.level
        return None if level is None else level.of(self.point)

    def at(self, level: float) -> Answerer:
        """The same with another `level`.

        Raises:
            UsageError: The point has none, or the number is outside of [0, 1].
        """
        known = self.task.answering.level
        if known is None or self.level is None:
            raise UsageError(
                f"answers of the task {self.task.name} do not depend on a number that can be moved",
                whose="the level",
                fix="leave it out",
                code="usage/no-level",
            )
        if not 0 <= level <= 1:
            raise UsageError(
                f"{level:g} lies outside of 0 to 1",
                whose="the level",
                fix="choose a number from 0 to 1",
                code="usage/out-of-range",
            )
        return dataclasses.replace(self, point=known.moved(self.point, level))

    def computed(
        self,
        batch: ImageBatch,
        name: Callable[[int], str],
        *,
        batch_size: int,
        on_windows: Callable[[int, int], None] | None = None,
    ) -> Iterator[tuple[list[Item], Computed]]:
        """Computes a batch; yields items in the order of their inputs, with their outputs.

        Args:
            batch: As it comes from `image_batches`.
            name: Gives the id of the input at a position.
            batch_size: Windows of a large picture a forward pass, at most.
            on_windows: Called with the windows of a picture that are answered, and their total.
        """
        for part in computed_parts(
            batch,
            compute=self.compute,
            preprocess=self.preprocess,
            task=self.task,
            context=self.context,
            batch_size=batch_size,
            on_windows=on_windows,
        ):
            yield items_of(batch, part, name), part.computed

    def answers(self, outputs: Outputs, items: Sequence[Item]) -> Sequence[Answer]:
        """The answers to items whose outputs were computed.

        Raises:
            PluginError: The task gives another number of answers.
        """
        found = self.task.answering.answers(outputs, items, self.point, self.context)
        if len(found) != len(items):
            owner = owner_in_words(self.task.answering.answers)
            raise PluginError(
                f"the task {self.task.name} gave {len(found)} answers to {len(items)} items",
                whose=owner or f"task {self.task.name}",
                fix="report it to its authors",
                code="plugin/bad-answers",
            )
        return found

    def unreadable(self, name: str, reason: str) -> Row:
        """The row of an image that could not be read."""
        blank = self.task.answering.unreadable(self.point)
        return self._row(name, {"verdict": UNREADABLE, **blank, "overlay": "", "error": reason})

    def row(
        self,
        name: str,
        answer: Answer,
        *,
        overlay: str,
        files: Mapping[str, str] | None = None,
        remarks: Sequence[Remark] = (),
    ) -> Row:
        """The row of an answer.

        Args:
            name: Of the image.
            answer: Its answer.
            overlay: Path of its overlay below the output folder; empty if there is none.
            files: Paths of its other files, by column.
            remarks: What was guessed when its file was read.
        """
        known = {**answer.as_row(), "overlay": overlay, "error": "", **(files or {})}
        told = {REMARKS: {one.kind: one.value for one in remarks}} if remarks else {}
        return {**self._row(name, known), **told}

    def _row(self, name: str, known: Mapping[str, Any]) -> Row:
        columns = self.task.show.columns
        row: Row = {column: known.get(column, "") for column in columns}
        if not_finite(row) is not None:
            row = {**finite(row), "error": NOT_FINITE}
        return {"file": name, **row}


def items_of(batch: ImageBatch, part: Part, name: Callable[[int], str]) -> list[Item]:
    """The items of a part of a batch; `name` gives the id of the input at a position."""
    return [
        Item(id=name(batch.rows[place]), size=batch.sizes[place], frame=part.frame)
        for place in part.places
    ]


def remarks_in(row: Row) -> tuple[Remark, ...]:
    """What was guessed when the file of a row was read."""
    found = row.get(REMARKS)
    if not isinstance(found, dict):
        return ()
    return tuple(
        Remark(str(kind), float(value))
        for kind, value in found.items()
        if isinstance(value, int | float)
    )

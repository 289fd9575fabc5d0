"""Items, answers and tallies: what the functions of a task hand to each other.

Shapes: B items of a batch, N items of a split, H and W rows and columns of a picture.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from moekit.contract.outputs import Outputs

if TYPE_CHECKING:
    import numpy as np

    from moekit.data.geometry import Frame
    from moekit.data.samples import Sample


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskContext:
    """What the functions of a task know of a run.

    Attributes:
        classes: Names of the classes, in the order of the labels.
        vocabulary: The kit's words, as the task asks for them.
        frame: How pictures lie in the backbone's input.
        kinds: Names of the kinds of item that the head distinguishes; empty if there are none.
        options: What the kit sets for the task; see `KitSpec.options`.
        points: Of a tallier the point of each model, if it was chosen before; empty on the
            validation split, from which points are chosen.
    """

    classes: tuple[str, ...]
    vocabulary: Mapping[str, Any]
    frame: Frame
    kinds: tuple[str, ...] = ()
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    points: tuple[Any, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Item:
    """What is answered once.

    Attributes:
        id: Its name.
        size: (H, W) of its picture, upright.
        sample: The sample with its truth, if it comes from a data set.
        frame: How its picture lies in its outputs, if not as the context says: of a picture that
            was cut into windows, what `Answering.whole` put its outputs over.
    """

    id: str
    size: tuple[int, int]
    sample: Sample | None = None
    frame: Frame | None = None

    def lies_in(self, context: TaskContext) -> Frame:
        """How its picture lies in its outputs."""
        return context.frame if self.frame is None else self.frame


@runtime_checkable
class Point(Protocol):
    """What is chosen on validation data, such as a threshold.

    A metric that needs a value of it names the attribute. If it has a method `in_words()`, commands
    print the texts that it returns: the choice, its interval, what it rests on.
    """

    def as_json(self) -> dict[str, Any]:
        """The point for result.json."""
        ...

    def brief(self) -> dict[str, Any]:
        """What the result of a baseline says of its own point."""
        ...


@runtime_checkable
class Answer(Protocol):
    """The outputs of one item, decoded into its own coordinates and words.

    Attributes:
        verdict: One word, or the answer in short.
        monitor: A number that a line is watched by; None if the task has none.
    """

    @property
    def verdict(self) -> str:
        """One word, or the answer in short."""
        ...

    @property
    def monitor(self) -> float | None:
        """A number that a line is watched by."""
        ...

    def as_row(self) -> dict[str, Any]:
        """JSON-ready values by the names in `Show.columns`."""
        ...


class Tally(Protocol):
    """What is known of the items of a split once one model has answered them.

    Attributes:
        ids: (N) ids of the samples.
        groups: (N) names of groups, or None if the data have none.
        subtypes: (N) names of strata that are reported alone, or None.
        strata_N: (N,) integers; a bootstrap draws from each stratum as many items as it has.
    """

    @property
    def ids(self) -> tuple[str, ...]:
        """(N) ids of the samples."""
        ...

    @property
    def groups(self) -> tuple[str, ...] | None:
        """(N) names of groups."""
        ...

    @property
    def subtypes(self) -> tuple[str, ...] | None:
        """(N) names of strata that are reported alone."""
        ...

    @property
    def strata_N(self) -> np.ndarray:
        """(N,) integers."""
        ...

    def __len__(self) -> int: ...

    def field(self, name: str) -> Any:
        """What metrics compute from: an array whose first dimension is N, or a constant.

        None if the tally has no such field; a note then says so.
        """
        ...

    def take(self, rows: np.ndarray) -> Tally:
        """The tally of the items at these positions."""
        ...

    def worst(self, point: Any) -> Mapping[str, np.ndarray]:
        """Positions of the items that were answered worst, the worst first, by kind of mistake."""
        ...


class Tallier(Protocol):
    """Adds up a split, batch by batch."""

    def add(self, items: Sequence[Item], outputs: Sequence[Outputs]) -> None:
        """Takes one batch.

        Args:
            items: (B) with their samples.
            outputs: Merged outputs of each model, the kit's first, then the baseline's if any.
        """
        ...

    def finish(self) -> tuple[Tally, ...]:
        """The tally of each model, in the order of the outputs."""
        ...

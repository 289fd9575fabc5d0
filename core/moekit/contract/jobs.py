"""What a kit is handed that trains or predicts in its own way."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from moekit.contract.recipe import Recipe

if TYPE_CHECKING:
    import numpy as np
    from lightning.fabric import Fabric
    from PIL.Image import Image
    from torch import Tensor, nn

    from moekit.backbone.model import MoEBackbone
    from moekit.contract.answers import Answer
    from moekit.contract.outputs import Outputs
    from moekit.contract.tasks import TaskSpec
    from moekit.data.geometry import Frame
    from moekit.data.samples import Sample
    from moekit.moe.specialists import Grid


class StoredPrefix(Protocol):
    """The stored activations of a list of samples.

    Attributes:
        samples: Those whose image could be read, in order.
        views: How many views of each are stored.
        grid: Rows and columns of the patch tokens, and the frames of a sample.
        frame: How pictures lie in the input.
        numbers: The number of each stored view, as of `moekit.data.view_boxes`.
    """

    @property
    def samples(self) -> tuple[Sample, ...]:
        """Those whose image could be read, in order."""
        ...

    @property
    def views(self) -> int:
        """How many views of each are stored."""
        ...

    @property
    def grid(self) -> Grid:
        """Rows and columns of the patch tokens, and the frames of a sample."""
        ...

    @property
    def frame(self) -> Frame:
        """How pictures lie in the input."""
        ...

    @property
    def numbers(self) -> tuple[int, ...]:
        """The number of each stored view."""
        ...

    def __len__(self) -> int: ...

    def read(self, rows: np.ndarray, views: np.ndarray) -> tuple[Tensor, dict[int, Tensor]]:
        """Activations of some samples, each in one view: those at the end, and the kept blocks'."""
        ...

    def pictures(self, rows: np.ndarray, views: np.ndarray) -> Tensor:
        """The normalised inputs of some samples, each in one view, read from their files."""
        ...


def _unheard(done: int, total: int) -> None:
    """Tells nobody."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FitJob:
    """One training of one kit. The same task gives the same weights.

    Attributes:
        part: `kit`, or `baseline`: the same head with no specialists on the bare backbone.
        kit: Its modules, as they are built; trained in place, in eval mode at the end.
        backbone: The frozen trunk, on the device of `fabric`.
        fabric: Launched; decides device, arithmetic and processes.
        train: The stored prefix of the training split, and its samples.
        val: The same of the validation split, one view.
        task: What is learned.
        recipe: How to train.
        epochs: Passes over the training split.
        seed: Decides everything that is drawn.
        checkpoint: A file for the state of an unfinished training; what is found there goes on.
        on_epoch: Called after each epoch with its figures, all floats; `epoch` is one of them.
        on_step: Called after each step with the steps made and the most that there can be.
    """

    part: Literal["kit", "baseline"]
    kit: nn.Module
    backbone: MoEBackbone
    fabric: Fabric
    train: StoredPrefix
    val: StoredPrefix
    task: TaskSpec
    recipe: Recipe
    epochs: int
    seed: int
    checkpoint: Path
    on_epoch: Callable[[Mapping[str, float]], None]
    on_step: Callable[[int, int], None] = _unheard

    def targets(self, store: StoredPrefix, rows: np.ndarray, views: np.ndarray) -> Outputs:
        """The task's targets of some samples, each in one view, as `store.read` takes them."""
        import numpy as np

        samples = [store.samples[row] for row in rows]
        return self.task.learn.targets(samples, np.asarray(store.numbers)[views], store.frame)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FitResult:
    """How a training went.

    Attributes:
        epochs: Passes that were made.
        best_epoch: The one whose weights were kept, counted from 1; 0 for those at the start.
        seconds: Time that it took, over all sessions.
        history: One entry a pass, as `FitJob.on_epoch` got it.
    """

    epochs: int
    best_epoch: int
    seconds: float
    history: tuple[Mapping[str, float], ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictJob:
    """What a kit is handed that predicts in its own way.

    Attributes:
        inputs: Files and folders, as they were given.
        out: The output folder; nothing is written elsewhere.
        score: Gives pictures (RGB, any size) their probabilities, (n,) float64 in [0, 1]. If
            `frames` is not 1 it takes stacks, each a sequence of that many pictures.
        threshold: Operating threshold, chosen on validation data; not a number if the task has
            none.
        provenance: What the scores depend on, for the outputs.
        batch_size: Pictures a forward pass.
        on_progress: Called with a description, what is done and the total.
        frames: Pictures of a stack, as the run was trained with; 1 for single pictures.
        answer: Gives pictures, or stacks, their answers; of any task.
        draw: Draws an answer over its picture, as overlays are drawn; None if it has nothing to
            show.
        told: Which model answers and how its point was chosen, with what it promises, in sentences.
        by_fewer_views: As `score`, by the first of several views only, by the first two, four and
            so on. No view of the same pictures is computed twice, by `score` neither. Empty if the
            run answers by one view, or by a graph that holds all views.
    """

    inputs: tuple[Path, ...]
    out: Path
    score: Callable[[Sequence[Image | Sequence[Image]]], np.ndarray]
    threshold: float
    provenance: Mapping[str, Any]
    batch_size: int
    on_progress: Callable[[str, int, int], None]
    frames: int = 1
    answer: Callable[..., Sequence[Answer]] | None = None
    draw: Callable[[Image, Answer], Image | None] | None = None
    told: tuple[str, ...] = ()
    by_fewer_views: tuple[Callable[[Sequence[Image | Sequence[Image]]], np.ndarray], ...] = ()

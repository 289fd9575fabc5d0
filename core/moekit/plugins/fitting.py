"""What a kit is handed that is trained in its own way, in place of the core's loop."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from lightning.fabric import Fabric

    from moekit.backbone.model import MoEBackbone
    from moekit.runtime.kit import KitModules
    from moekit.training.prefix import PrefixStore
    from moekit.training.recipe import Recipe


@dataclasses.dataclass(frozen=True, kw_only=True)
class FitTask:
    """One training of one kit. The same task gives the same weights.

    Attributes:
        part: `kit`, or `baseline`: the same head with no specialists on the bare backbone.
        kit: Its modules, as they are built; trained in place, in eval mode at the end.
        backbone: The frozen trunk, on the device of `fabric`.
        fabric: Launched; decides device, arithmetic and processes.
        train: The stored prefix of the training split, and its samples.
        val: The same of the validation split, one view.
        recipe: How to train.
        epochs: Passes over the training split.
        seed: Decides everything that is drawn.
        checkpoint: A file for the state of an unfinished training; what is found there goes on.
        on_epoch: Called after each epoch with its figures, all floats; `epoch` is one of them.
    """

    part: Literal["kit", "baseline"]
    kit: KitModules
    backbone: MoEBackbone
    fabric: Fabric
    train: PrefixStore
    val: PrefixStore
    recipe: Recipe
    epochs: int
    seed: int
    checkpoint: Path
    on_epoch: Callable[[Mapping[str, float]], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FitResult:
    """How a training went.

    Attributes:
        epochs: Passes that were made.
        best_epoch: The one whose weights were kept, counted from 1; 0 for those at the start.
        seconds: Time that it took, over all sessions.
        history: One entry a pass, as `FitTask.on_epoch` was told.
    """

    epochs: int
    best_epoch: int
    seconds: float
    history: tuple[Mapping[str, float], ...] = ()

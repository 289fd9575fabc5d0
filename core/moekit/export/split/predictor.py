"""A split export, called as `moekit.runtime.predictor.Predictor` is.

Shapes: B images or stacks, T frames of a stack, V views, N tokens, D width.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from moekit.contract.tasks import TaskSpec
from moekit.data.views import view
from moekit.export.graph import INPUT
from moekit.export.predictor import ExportPrecision, outputs_of
from moekit.export.sessions import Session
from moekit.moe.stats import RoutingTrace
from moekit.runtime.predictor import Computed

Prefix = Callable[[Tensor], Mapping[str, np.ndarray]]
"""From a view of images to the named tokens of a prefix, (B * T, N, D) each."""


class Seen(NamedTuple):
    """A view that a prefix has computed.

    Attributes:
        tokens: (B * T, N, D) by name.
        seconds: Time that it took.
    """

    tokens: Mapping[str, np.ndarray]
    seconds: float


Shared = MutableMapping[tuple[Prefix, int], Seen]
"""What prefixes have computed of a batch, by the prefix and the number of the view."""


class SplitPredictor:
    """Computes by two graphs: a prefix, view by view, and the kit's own.

    A view has a pass of its own, so that a kit of one view and a kit of several share it, and what
    a kit gives does not depend on who else asks.

    Args:
        prefix: The first graph; the same object for all kits that share it.
        own: The second one, whose outputs bear the short names of the task's fields.
        inputs: What this takes, in order: tokens (V, B, T, N, D) by name, and the images.
        views: The numbers of the views.
        task: What is answered.
        precision: The arithmetic of the graphs.
    """

    def __init__(
        self,
        prefix: Prefix,
        own: Session,
        *,
        inputs: Sequence[str],
        views: Sequence[int],
        task: TaskSpec,
        precision: ExportPrecision,
    ) -> None:
        self.prefix, self._session = prefix, own
        self._inputs, self._views = tuple(inputs), tuple(views)
        self.task = task
        self.arithmetic = precision

    def __call__(self, images: Tensor, *, trace: RoutingTrace | None = None) -> Computed:
        """Normalised images (B, 3, H, W) or stacks (B, T, 3, H, W); there is no baseline."""
        del trace
        return self.computed(images, {})

    def computed(self, images: Tensor, shared: Shared) -> Computed:
        """The same, with what other kits have had computed of these images, and for those to come.

        The time is that of the kit by itself.
        """
        images = images.float().cpu()
        for number in self._views:
            if (self.prefix, number) not in shared:
                began = time.perf_counter()
                tokens = self.prefix(view(images, number) if number else images)
                shared[self.prefix, number] = Seen(tokens, time.perf_counter() - began)
        seen = [shared[self.prefix, number] for number in self._views]
        began = time.perf_counter()
        given = own_inputs(self._inputs, [one.tokens for one in seen], images)
        outputs = outputs_of(self._session(*given), self.task)
        seconds = time.perf_counter() - began + sum(one.seconds for one in seen)
        return Computed(outputs=(outputs,), seconds=seconds)


def own_inputs(
    names: Sequence[str], views: Sequence[Mapping[str, np.ndarray]], images: Tensor
) -> list[np.ndarray]:
    """What a kit's own graph takes.

    Args:
        names: Of its inputs, in order.
        views: The tokens of each view.
        images: (B, ...) as they are.
    """
    given = []
    for name in names:
        if name == INPUT:
            given.append(images.numpy())
            continue
        of_views = [one[name] for one in views]
        stacked = of_views[0][None] if len(views) == 1 else np.stack(of_views)
        given.append(stacked.reshape(len(views), len(images), -1, *stacked.shape[2:]))
    return given


def by_session(session: Session) -> Prefix:
    """A prefix that computes by a graph."""
    return lambda images: session(images.numpy())

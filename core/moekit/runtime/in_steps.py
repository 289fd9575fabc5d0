"""A kit's answers by more and more of its views, none of which is computed twice.

Shapes: B images or stacks.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from moekit.contract.outputs import Outputs
from moekit.moe.stats import RoutingTrace
from moekit.runtime.predictor import Computed, Predictor

MOST_KEPT = 8192
"""Images whose views are kept; the oldest leave."""


def in_steps(predictor: Predictor) -> tuple[Step, ...]:
    """By the first view, by the first two, four and so on, and by all of them.

    What a step computed for an image the next does not compute again. Images are found by what
    they hold. The law of independent rows makes each step give what it gives by itself.
    """
    counts, views, kept = [1], len(predictor.views), _Kept()
    while counts[-1] < views:
        counts.append(min(2 * counts[-1], views))
    return tuple(Step(predictor, count, kept) for count in counts)


@dataclasses.dataclass(frozen=True)
class Step:
    """A predictor by the first of its views; see `moekit.runtime.predictor.Compute`.

    Attributes:
        predictor: By all views.
        count: How many this one takes.
        kept: Shared with the other steps.
    """

    predictor: Predictor
    count: int
    kept: _Kept

    def __call__(self, images: Tensor, *, trace: RoutingTrace | None = None) -> Computed:
        """Computes the views that were not kept; all of them if routing is to be traced."""
        keys = _keys(images)
        views = [] if trace is not None else self.kept.find(keys)[: self.count]
        seconds = 0.0
        for number in self.predictor.views[len(views) : self.count]:
            computed = self.predictor.by_view(images, number, trace=None if views else trace)
            views.append(computed.outputs)
            seconds += computed.seconds
        self.kept.keep(keys, views)
        return Computed(outputs=self.predictor.merged(views), seconds=seconds)


Views = list[tuple[Outputs, ...]]
"""For each view the outputs of each model."""


class _Kept:
    """The outputs for the first views of images, the latest `MOST_KEPT`."""

    def __init__(self) -> None:
        self._found: collections.OrderedDict[bytes, Views] = collections.OrderedDict()

    def keep(self, keys: Sequence[bytes], views: Views) -> None:
        for row, key in enumerate(keys):
            known = self._found.setdefault(key, [])
            known += [_row(of_view, row) for of_view in views[len(known) :]]
            self._found.move_to_end(key)
        while len(self._found) > MOST_KEPT:
            self._found.popitem(last=False)

    def find(self, keys: Sequence[bytes]) -> Views:
        """The views that are known of all the images."""
        rows = [self._found.get(key, []) for key in keys]
        return [_joined(of_view) for of_view in zip(*rows, strict=False)]


def _keys(images: Tensor) -> list[bytes]:
    return [
        hashlib.blake2b(one.contiguous().numpy(), digest_size=16).digest() for one in images.cpu()
    ]


def _row(models: Sequence[Outputs], row: int) -> tuple[Outputs, ...]:
    return tuple({name: value[row].clone() for name, value in one.items()} for one in models)


def _joined(rows: Sequence[tuple[Outputs, ...]]) -> tuple[Outputs, ...]:
    return tuple(
        {name: torch.stack([one[name] for one in of_model]) for name in of_model[0]}
        for of_model in zip(*rows, strict=True)
    )

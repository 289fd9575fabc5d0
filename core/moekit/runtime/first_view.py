"""A kit's answers in two steps: by the first of its views, then by all, which takes the first over.

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
"""Images whose first view is kept; the oldest leave."""


def in_two_steps(predictor: Predictor) -> tuple[Glance, Completion] | None:
    """By the first view, and by all views; None if the predictor has one view only.

    What the first step computed for an image the second does not compute again. Images are found
    by what they hold. The law of independent rows makes both steps give what they give alone.
    """
    if len(predictor.views) == 1:
        return None
    kept = _Kept()
    return Glance(predictor, kept), Completion(predictor, kept)


class _Kept:
    """The outputs of each model for the first view of images, the latest `MOST_KEPT`."""

    def __init__(self) -> None:
        self._found: collections.OrderedDict[bytes, tuple[Outputs, ...]] = collections.OrderedDict()

    def keep(self, images: Tensor, outputs: Sequence[Outputs]) -> None:
        for row, key in enumerate(_keys(images)):
            self._found[key] = tuple(
                {name: value[row].clone() for name, value in of_model.items()}
                for of_model in outputs
            )
            self._found.move_to_end(key)
        while len(self._found) > MOST_KEPT:
            self._found.popitem(last=False)

    def find(self, images: Tensor) -> tuple[Outputs, ...] | None:
        """The outputs of each model for all the images; None if one of them is not there."""
        rows = [self._found.get(key) for key in _keys(images)]
        known = [row for row in rows if row is not None]
        if not known or len(known) < len(rows):
            return None
        return tuple(
            {name: torch.stack([one[name] for one in of_model]) for name in of_model[0]}
            for of_model in zip(*known, strict=True)
        )


def _keys(images: Tensor) -> list[bytes]:
    return [
        hashlib.blake2b(one.contiguous().numpy(), digest_size=16).digest() for one in images.cpu()
    ]


@dataclasses.dataclass(frozen=True)
class Glance:
    """A predictor by the first of its views; see `moekit.runtime.predictor.Compute`."""

    predictor: Predictor
    kept: _Kept

    def __call__(self, images: Tensor, *, trace: RoutingTrace | None = None) -> Computed:
        """Computes the first view, and keeps its outputs."""
        first = self.predictor.first_view(images, trace=trace)
        self.kept.keep(images, first.outputs)
        return dataclasses.replace(first, outputs=self.predictor.merged([first.outputs]))


@dataclasses.dataclass(frozen=True)
class Completion:
    """A predictor by all its views; see `moekit.runtime.predictor.Compute`."""

    predictor: Predictor
    kept: _Kept

    def __call__(self, images: Tensor, *, trace: RoutingTrace | None = None) -> Computed:
        """Computes the views that were not kept; all of them if routing is to be traced."""
        found = None if trace is not None else self.kept.find(images)
        first = None if found is None else Computed(outputs=found, seconds=0.0)
        return self.predictor(images, trace=trace, first=first)

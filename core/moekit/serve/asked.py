"""What a service asks for answers: a `Runtime` with its runs, or exports of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from PIL import Image

from moekit.contract.answers import Answer
from moekit.plugins.registry import Registry
from moekit.runtime.select.answer import Selected
from moekit.runtime.shown import Draft, RoutedPicture, Shown
from moekit.runtime.together import Answers


class AsksKits(Protocol):
    """What a service asks: a `Runtime`, or exports."""

    @property
    def registry(self) -> Registry:
        """The installed plugins."""
        ...

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        ...

    def answer(
        self,
        pictures: Sequence[Image.Image],
        *,
        kits: Sequence[str],
        batch_size: int,
        levels: Mapping[str, float] | None = None,
    ) -> Answers:
        """The answers of several kits; see `Runtime.answer`."""
        ...

    def select(
        self,
        pictures: Sequence[Image.Image],
        *,
        kits: Sequence[str],
        batch_size: int,
        levels: Mapping[str, float] | None = None,
    ) -> list[Selected]:
        """Each picture's kit with its answer; see `Runtime.select`."""
        ...

    def shown(self, picture: Image.Image, answer: Answer, *, kit: str) -> Shown:
        """An answer as its task shows it; see `Runtime.shown`."""
        ...

    def draft(self, picture: Image.Image, answer: Answer, *, kit: str) -> Draft:
        """An answer in the form of a correction; see `Runtime.draft`."""
        ...

    def routing(self, picture: Image.Image, *, kit: str) -> RoutedPicture:
        """Which experts compute which part of a picture; see `Runtime.routing`."""
        ...
